"""The rules about parties that are apps of Flower, which keep rows and training to themselves."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.errors import OptionError, option
from fusion_nb.models.client_app import AppModel
from fusion_nb.runs.federated.finding import engine_of
from fusion_nb.runs.resolve import Resolved

#: Engines that apps run on: their replies are counted in this process.
_ENGINES = ("local", "auto")


def check_client_apps(resolved: Resolved) -> Sequence[str]:
    """Check that nothing is asked for that needs rows, gradients or steps that an app keeps."""
    spec, model = resolved.spec, resolved.model
    if not isinstance(model, AppModel):
        return ()
    app = "a Flower ClientApp reads its own rows"
    if spec.engine.partition(":")[0] not in _ENGINES and engine_of(spec) is None:
        raise OptionError(
            f"{option('engine', spec.engine)}, and a Flower ClientApp runs in this process",
            f"leave {option('engine')} out; at nodes of their owners, apps are named by: "
            "fusion-nb party --data flower_app:module:app",
        )
    for name in ("baseline", "share", "ensemble", "evaluate_rows", "class_weights"):
        if getattr(spec, name) != type(spec).model_fields[name].default:
            raise OptionError(
                f"{option(name, getattr(spec, name))}, but {app} and trains by itself",
                f"leave {option(name)} out",
            )
    if spec.adversary.partition(":")[0] == "label_flip":
        raise OptionError(
            f"{option('adversary', spec.adversary)}, but {app}, labels included",
            "use one that changes weights, such as sign_flip",
        )
    if spec.straggler and not model.trains_epochs:
        raise OptionError(
            f"{option('straggler', spec.straggler)}, but this app has no option local-epochs that "
            "says how long it trains",
            f"leave it out, or use {option('dropout', 0.2)}",
        )
    fusion = resolved.rule
    if fusion is not None and fusion.requires.effective_step_size:
        raise OptionError(
            f"{option('fusion', spec.fusion)} divides by the steps of the parties' optimizers, and "
            "a Flower ClientApp does not tell them",
            f"use another fusion, such as {option('fusion', 'fedavg')}",
        )
    return ()
