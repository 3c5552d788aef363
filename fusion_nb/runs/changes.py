"""Changes of a run that is under way: which options may change, and whether a change is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.protocols import Change
from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.runs import change_text
from fusion_nb.runs.checks.fusions import FUSION_CHECKS, check_supported
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.spec import RunSpec

#: The options of a run that may change from one round to the next.
CHANGEABLE = ("lr", "epochs", "fraction", "fusion")
#: Options that build something around the fusion, so that it can't be replaced.
_FIX_THE_FUSION = (
    "privacy",
    "personal",
    "ensemble",
    "straggler",
    "adversary",
    "compress",
    "secure",
)


def change(resolved: Resolved, given: Mapping[str, Any]) -> tuple[Resolved, Change]:
    """Return a run with other options, and the change that a federation is given.

    Nothing of the run is changed. Raises OptionError for an option that can't change, a value that
    is not allowed, or options that don't go together.
    """
    _check_changeable(given)
    spec = resolved.spec
    wanted = RunSpec(**spec.model_dump(exclude_unset=True) | dict(given))
    values = {name: getattr(wanted, name) for name in given}
    _check_values(values, spec)
    _check_central(wanted, resolved)
    fusion = None
    if "fusion" in values:
        _check_replaceable(spec)
        fusion = registry.create("fusions", values["fusion"])
    changed = replace(resolved, spec=wanted, rule=fusion or resolved.rule)
    if fusion is not None:
        check_supported(changed)
    for check in FUSION_CHECKS:
        check(changed)
    if fusion is not None and resolved.rule is not None:
        for rule, name in ((fusion, wanted.fusion), (resolved.rule, spec.fusion)):
            if rule.synchronising is not None or rule.asynchronous is not None:
                why = "keep weights of their own" if rule.synchronising else "come and go"
                raise OptionError(
                    f"a run can't change to or from {name}, whose parties {why}",
                    "make another run with that fusion",
                    option="fusion",
                    value=values["fusion"],
                )
    return changed, Change(values, fusion)


def plan(resolved: Resolved) -> dict[int, Change]:
    """Return the changes that the spec's option `changes` plans, by round.

    Each is checked on top of those before it, as in `change`.
    """
    planned = {}
    for number, given in sorted(change_text.parse(resolved.spec.changes).items()):
        resolved, planned[number] = change(resolved, given)
    return planned


def after(resolved: Resolved, round: int) -> Resolved:
    """Return a run with the planned changes that hold after a round."""
    for number, given in sorted(change_text.parse(resolved.spec.changes).items()):
        if number <= round:
            resolved, _ = change(resolved, given)
    return resolved


def _check_changeable(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in CHANGEABLE:
            raise OptionError(
                f"{name!r} can't be changed while a run is under way",
                f"{nearest(name, CHANGEABLE)}those that can are: {', '.join(CHANGEABLE)}",
                option=name,
                value=value,
                allowed=CHANGEABLE,
            )


def _check_values(values: Mapping[str, Any], spec: RunSpec) -> None:
    if missing := [name for name, value in values.items() if value in (None, "")]:
        raise OptionError(
            f"{missing[0]} was given no value",
            f"give one, or leave {missing[0]} as it is",
            option=missing[0],
        )
    counted = ("fraction", "epochs") if spec.privacy.startswith("rows") else ("fraction",)
    for name in counted:
        if name in values and spec.privacy:
            raise OptionError(
                f"{name} can't be changed in a run with {option('privacy', spec.privacy)}, which "
                "counts on it",
                "make another run with that value",
                option=name,
                value=values[name],
            )
    if "epochs" in values and spec.local_steps:
        raise OptionError(
            f"a round's work is {option('local_steps')} here, so epochs can't be changed",
            "leave epochs as it is",
        )


def _check_central(wanted: RunSpec, resolved: Resolved) -> None:
    """Check that the baseline `central` can take as many steps as a smaller cohort."""
    in_steps = "local_steps" in resolved.model.supported_options
    if wanted.fraction < 1 and "central" in resolved.baselines and not in_steps:
        raise OptionError(
            f"fraction {wanted.fraction:g} with {option('baseline', 'central')}: a "
            f"{resolved.model.kind} trains whole epochs only",
            "leave the fraction as it is",
            option="fraction",
            value=wanted.fraction,
        )


def _check_replaceable(spec: RunSpec) -> None:
    if fixing := [name for name in _FIX_THE_FUSION if getattr(spec, name)]:
        raise OptionError(
            f"the fusion can't be changed in a run with {option(fixing[0])}, which is built "
            "around it",
            "make another run with that fusion",
            option="fusion",
            value=spec.fusion,
        )
