"""The rules about simulated time and asynchronous fusions, and the other options of a run."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.core import registry
from fusion_nb.core.clock.pace import JOULES, SECONDS
from fusion_nb.core.protocols import Asynchronous, ModelPoisoning, NeedsAgreement
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.checks.rounds import BY_TIME
from fusion_nb.runs.clock.building import devices_of, has_clock, is_real_time
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.spec import RunSpec

#: Options that are about simulated time, and say nothing without it.
_OF_TIME = ("deadline", "over_select", "step_seconds")
#: Samplings that decide themselves how many parties a round has.
_OF_OWN_SIZE = ("named", "poisson")
#: Options that an asynchronous fusion has no place for, and why.
_NOT_ASYNCHRONOUS = {
    "deadline": "which never waits for a slow party",
    "over_select": "which never waits for a slow party",
    "sampling": "which asks a party whenever another one has answered",
    "personal": "whose parties come and go between rounds",
    "compress": "whose parties begin from weights of several rounds",
    "secure": "whose updates arrive one by one, and masks need a cohort",
    "straggler": "which waits for nobody; slow devices are those of devices",
}


def check_time(resolved: Resolved) -> Sequence[str]:
    """Check that simulated time goes together with the other options."""
    spec = resolved.spec
    sampling = registry.parse(spec.sampling)[0]
    if not has_clock(spec):
        given = [name for name in _OF_TIME if _is_given(spec, name)]
        for name in (*given, *(["sampling"] if sampling in BY_TIME else [])):
            raise OptionError(
                f"{option(name, getattr(spec, name))}, but no devices or lines are simulated",
                f"say how slow they are, as {option('devices', 'phones')} or "
                f"{option('network', '4g')}",
                option=name,
            )
        return ()
    devices_of(spec).check()
    if spec.straggler:
        raise OptionError(
            f"{option('straggler', spec.straggler)} with simulated time, where the devices say who "
            "is slow",
            f"leave it out; {option('deadline', 60)} leaves out who is late",
        )
    if spec.step_seconds is None and isinstance(resolved.model, NeedsAgreement):
        raise OptionError(
            f"the time of a batch of a {resolved.model.kind} can't be measured before its parties "
            "have agreed",
            f"give it: {option('step_seconds', 0.01)}",
            option="step_seconds",
        )
    if spec.over_select:
        _check_over_select(spec, sampling)
    return ()


def check_asynchronous(resolved: Resolved) -> Sequence[str]:
    """Check that an asynchronous fusion goes together with the other options."""
    spec, rule = resolved.spec, resolved.rule
    names = [registry.parse(part)[0] for part in registry.chain(spec.fusion)] if spec.fusion else []
    inside = [name for name in names if _is_asynchronous(name)]
    if not inside:
        return ()
    fusion = option("fusion", spec.fusion)
    if len(names) > 1:
        raise OptionError(
            f"{fusion}: {inside[0]} is asynchronous, and goes inside no other rule",
            f"use {inside[0]} alone",
            option="fusion",
        )
    for name, why in _NOT_ASYNCHRONOUS.items():
        is_after = name == "personal" and spec.personal.startswith("finetune")
        if _is_given(spec, name) and not is_after:
            raise OptionError(
                f"{option(name, getattr(spec, name))} with {fusion}, {why}", "leave one of them out"
            )
    if isinstance(resolved.attack, ModelPoisoning):
        raise OptionError(
            f"{option('adversary', spec.adversary)} with {fusion}, whose parties do not all train "
            "from the same weights",
            "use label_flip, or another fusion",
        )
    if not isinstance(rule, Asynchronous):
        raise OptionError(
            f"{fusion} is asynchronous, and another option puts a rule around it",
            "use another fusion, or leave that option out",
            option="fusion",
        )
    present = sum(party.trains for party in resolved.data.parties)
    under_way = rule.concurrency or resolved.cohort_size
    for word, count in (("buffer", rule.awaited(under_way)), ("concurrency", rule.concurrency)):
        if count > present:
            raise OptionError(
                f"{fusion} has {word}={count}, and there are {present} parties that train",
                f"use a smaller {word}, or more parties",
                option="fusion",
            )
    return [
        f"asynchronous: {under_way} parties are under way at a time, and a round has "
        f"{rule.awaited(under_way)} of their updates",
        *_check_real_time(resolved, fusion, names[0]),
    ]


def time_metrics(resolved: Resolved) -> list[str]:
    """Return the metrics of simulated time that the rounds of a run have."""
    spec, rule = resolved.spec, resolved.rule
    if has_clock(spec):
        return [SECONDS, *([JOULES] if devices_of(spec).has_watts else [])]
    is_simulated = rule is not None and rule.asynchronous is not None
    return [SECONDS] if is_simulated and not is_real_time(resolved) else []


def _check_real_time(resolved: Resolved, fusion: str, name: str) -> list[str]:
    """Return notes on real time, where the run has it. Raises OptionError where it can't be had."""
    spec = resolved.spec
    if not is_real_time(resolved):
        return []
    simulated = f"{name}:time=simulated"
    if not resolved.engine.has_real_time:
        raise OptionError(
            f"{fusion} with {option('engine', spec.engine)}, which takes updates in the order of "
            "simulated time",
            f"use {option('engine', 'flower')}, or leave time=real out",
            option="fusion",
        )
    if has_clock(spec):
        raise OptionError(
            f"{fusion} in real time with simulated devices or lines",
            f"leave {option('devices')} and {option('network')} out, or use {simulated}",
            option="fusion",
        )
    if spec.dropout:
        raise OptionError(
            f"{option('dropout', spec.dropout)} with {fusion} in real time, where parties drop "
            "out by themselves",
            f"leave it out, or use {simulated}",
            option="dropout",
        )
    notes = [
        "real time: updates are fused as they come, so that the same seed does not give the same "
        f"numbers again; {simulated} does",
        "a party that fails is replaced by another one; --quorum ends a run in which too many fail",
    ]
    if resolved.test is None:
        notes.append(
            "no central test set: a round is measured on the test rows of the parties that do not "
            "train at its end, and the last one on all"
        )
    return notes


def _check_over_select(spec: RunSpec, sampling: str) -> None:
    given = option("over_select", f"{spec.over_select:g}")
    if spec.quorum is not None:
        raise OptionError(
            f"{given} with {option('quorum', spec.quorum)}: of those that are asked, "
            "some are always too late",
            f"leave {option('quorum')} out",
        )
    if spec.fraction == 1:
        raise OptionError(
            f"{given}, but all parties are asked in every round",
            f"wait for a share of them, as {option('fraction', 0.3)}",
        )
    if sampling in _OF_OWN_SIZE:
        raise OptionError(
            f"{given} with {option('sampling', spec.sampling)}, which decides by itself how many "
            "parties are asked",
            "leave one of them out",
        )


def _is_given(spec: RunSpec, name: str) -> bool:
    return bool(getattr(spec, name) != RunSpec.model_fields[name].default)


def _is_asynchronous(name: str) -> bool:
    found = registry.get("fusions", name)
    return isinstance(found, type) and issubclass(found, Asynchronous)
