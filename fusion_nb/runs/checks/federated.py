"""The rules about a running federation, whose rows are where the parties are."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.errors import OptionError, option
from fusion_nb.runs.federated.finding import engine_of
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.spec import RunSpec

#: Options that need rows in this kernel.
_NEED_ROWS = ("baseline", "share", "ensemble", "class_weights", "metrics")


def check_running_federation(resolved: Resolved) -> Sequence[str]:
    """Check that nothing is asked for that needs rows, or code, of this kernel."""
    spec = resolved.spec
    if engine_of(spec) is None:
        return ()
    check_without_rows(spec)
    if not isinstance(resolved.train_options["optimizer"], str) or "loss" in resolved.shadowed:
        raise OptionError(
            "the loss or the optimizer is code of your own, which parties do not run",
            "name one of the framework",
        )
    return ()


def check_without_rows(spec: RunSpec) -> None:
    """Raise OptionError for an option that needs rows, which are at the parties."""
    for name in _NEED_ROWS:
        if getattr(spec, name) != type(spec).model_fields[name].default:
            raise OptionError(
                f"{option(name, getattr(spec, name))}, and rows are at the parties' nodes",
                f"leave {option(name)} out",
            )
    if spec.adversary.partition(":")[0] == "label_flip":
        raise OptionError(
            f"{option('adversary', spec.adversary)}, and labels are at the parties' nodes",
            "use one that changes weights, such as sign_flip",
        )
