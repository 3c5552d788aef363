"""The rules about the learning rate of rounds, and about who takes part in them."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.algorithms import samplings
from fusion_nb.core import registry
from fusion_nb.core.history import History
from fusion_nb.core.rounds import cohorts
from fusion_nb.core.rounds.schedule import Schedule
from fusion_nb.core.types import Requirements
from fusion_nb.errors import ContractError, OptionError, option
from fusion_nb.runs import change_text
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.spec import run_option

#: Rounds that are looked at before training, at most.
_MOST_ROUNDS = 1000
#: Samplings that choose by the time that parties take, and what they look at.
BY_TIME = {"oort": "their losses and their simulated times", "tiers": "their simulated times"}
#: Rounds that a note names.
_SHOWN = 5


def check_drift(resolved: Resolved) -> Sequence[str]:
    """Check that nothing counts on a party's whole rows where it has a part of them at a time."""
    spec = resolved.spec
    if spec.privacy.startswith("rows") and any(party.drift for party in resolved.data.parties):
        raise OptionError(
            f"{option('privacy', spec.privacy)} counts the chance of a row among all of a party's, "
            f"and with {option('split', spec.split)} a party has a part of them at a time",
            f"use another {option('split')}, or {option('privacy', 'central')}",
        )
    return ()


def check_lr_schedule(resolved: Resolved) -> Sequence[str]:
    """Check that the learning rate can follow its schedule; note where it begins and ends."""
    spec, schedule = resolved.spec, resolved.rounds.lr_schedule
    if schedule is None:
        return ()
    given, base = option("lr_schedule", spec.lr_schedule), resolved.train_options["lr"]
    changed = change_text.parse(spec.changes)
    if resolved.model.has_lr_schedule:
        raise OptionError(
            f"{given}: the learning rate of a {resolved.model.kind} falls by itself",
            f"leave it out; {option('schedule')} says over which rounds",
        )
    if base is None:
        raise OptionError(
            f"{given}, but the model's own optimizer decides the learning rate",
            f"say {option('lr', 0.01)}, which the schedule multiplies",
        )
    if spec.schedule and not schedule.begins_anew:
        raise OptionError(
            f"{option('schedule', spec.schedule)}, but {given} does not look at the number of "
            "rounds",
            "leave it out",
        )
    planned = Schedule.parse(spec.schedule)
    planned.extend(spec.rounds)
    try:
        rates = []
        for round in range(1, min(spec.rounds, _MOST_ROUNDS) + 1):
            if "lr" in (change := changed.get(round, {})):
                base = run_option("lr").read(change["lr"])
            rates.append(schedule.lr(base, round, planned))
    except ContractError as error:
        raise OptionError(f"{given}: {error.message}", error.hint, option="lr_schedule") from None
    anew = "; it begins anew over rounds that are added" if schedule.begins_anew else ""
    few = ", ".join(f"{rates[i - 1]:.3g} in round {i}" for i in _spread(len(rates)))
    return [f"lr: {few} ({spec.lr_schedule}){anew}"]


def check_schedule(resolved: Resolved) -> Sequence[str]:
    """Check that a fall over rounds is given only where a learning rate falls."""
    spec = resolved.spec
    if not spec.schedule or resolved.model.has_lr_schedule or spec.lr_schedule:
        return ()
    raise OptionError(
        f"{option('schedule', spec.schedule)}: a {resolved.model.kind} has no learning rate that "
        "falls by itself",
        f"leave it out, or give {option('lr_schedule', 'cosine')} too",
    )


def check_sampling(resolved: Resolved) -> Sequence[str]:
    """Check that the sampling goes together with the fraction and the fusion.

    Rounds that will pass without training are noted.
    """
    spec = resolved.spec
    name, options = registry.parse(spec.sampling)
    if name == "uniform":
        return ()
    given = option("sampling", spec.sampling)
    requires = Requirements() if resolved.rule is None else resolved.rule.requires
    if requires.full_participation:
        raise OptionError(
            f"{given}, but with {spec.fusion} all parties take part in every round",
            "leave it out, or use another fusion",
        )
    _check_fraction(resolved, name, bool(options))
    if name == "loss":
        return [
            f"sampling: the parties with the largest losses, {resolved.cohort_size} in a round; "
            "the fused model is pulled towards their rows"
        ]
    if name in BY_TIME:
        return [f"sampling: {resolved.cohort_size} parties in a round, chosen by {BY_TIME[name]}"]
    num_rounds, seed = min(spec.rounds, _MOST_ROUNDS), spec.seed_for("cohort")
    drawn = [
        cohorts.draw(
            resolved.rounds.sampling,
            resolved.data.parties,
            History(),
            round=round,
            seed=seed,
            fraction=spec.fraction,
            least=requires.min_updates,
        )
        for round in range(1, num_rounds + 1)
    ]
    empty = [round for round, cohort in enumerate(drawn, 1) if not cohort]
    least = f"{requires.min_updates} parties" if requires.min_updates > 1 else "one party"
    if len(empty) == num_rounds:
        raise OptionError(
            f"{given}: no round would have {least} to train", "let more parties take part"
        )
    sizes = sorted({*map(len, drawn)})
    how_many = " to ".join(map(str, sizes if len(sizes) < 2 else (sizes[0], sizes[-1])))
    notes = [f"sampling: {how_many} of {len(resolved.data.parties)} parties in a round"]
    if empty and not requires.empty_rounds:
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        notes.append(
            f"sampling: round {', '.join(map(str, empty[:_SHOWN]))}{more} will pass without "
            f"training, since fewer than {least} will be drawn; the weights stay as they are"
        )
    return notes


def check_send(resolved: Resolved) -> Sequence[str]:
    """Check that parties send whole models where these are kept apart."""
    spec = resolved.spec
    if spec.send != "all" and spec.ensemble:
        raise OptionError(
            f"{option('send', spec.send)} with {option('ensemble', spec.ensemble)}, which keeps "
            "the parties' whole models",
            f"leave {option('send')} out, or use a fusion",
        )
    return ()


def check_roles(resolved: Resolved) -> Sequence[str]:
    """Check that parties that only evaluate go together with the model and with personal models."""
    spec = resolved.spec
    if all(party.trains for party in resolved.data.parties):
        return ()
    if resolved.model.train_metrics:
        raise OptionError(
            f"{option('roles')}: a {resolved.model.kind} is measured on the rows that a party "
            "trained on, and a party that only evaluates has none",
            "leave such a party out of the data",
        )
    for name in ("share", "ensemble"):
        if getattr(spec, name):
            raise OptionError(
                f"{option('roles')} with {option(name)}, which works with a model of every party",
                "let all parties train",
            )
    return ()


def _check_fraction(resolved: Resolved, name: str, has_options: bool) -> None:
    spec = resolved.spec
    is_named = samplings.is_named(resolved.rounds.sampling)
    given, fraction = option("sampling", spec.sampling), option("fraction", f"{spec.fraction:g}")
    if spec.fraction < 1 and (is_named or (name == "poisson" and has_options)):
        raise OptionError(
            f"{given} and {fraction} both say who trains in a round",
            f"leave {option('fraction')} out",
        )
    if spec.fraction == 1 and name in ("loss", *BY_TIME):
        raise OptionError(
            f"{given}, but all parties train in every round",
            f"choose some of them with {option('fraction', 0.3)}",
        )
    if spec.fraction == 1 and name == "poisson" and not has_options:
        raise OptionError(
            f"{given}, but each party is drawn with the chance 1",
            "give it a chance: poisson:q=0.3",
        )


def _spread(count: int) -> list[int]:
    """Return the first, a middle and the last of the numbers from 1 to `count`."""
    return sorted({1, (count + 1) // 2, count})
