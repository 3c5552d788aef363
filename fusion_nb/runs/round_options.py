"""The options that say what differs from round to round: the learning rate, and who takes part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fusion_nb.algorithms import lr_schedules, samplings
from fusion_nb.core import registry
from fusion_nb.core.protocols import Sampling, SamplingContext
from fusion_nb.core.rounds.lr_schedule import LrSchedule
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.runs.spec import RunSpec

#: The values of the option `roles`.
ROLES = ("train", "evaluate")


@dataclass(frozen=True)
class RoundOptions:
    """The learning rate of each round, or None for the same in all, and the cohorts of rounds."""

    lr_schedule: LrSchedule | None = None
    sampling: Sampling = SamplingContext.uniform

    @classmethod
    def of(cls, spec: RunSpec, namespace: Mapping[str, Any], data: PartitionedData) -> RoundOptions:
        """Return the objects behind the options of a spec. Raises OptionError."""
        schedule = lr_schedule(spec.lr_schedule, namespace) if spec.lr_schedule else None
        trained = [party.id for party in data.parties if party.trains]
        return cls(schedule, sampling(spec.sampling, namespace, trained))


def lr_schedule(text: str, namespace: Mapping[str, Any]) -> LrSchedule:
    """Return the schedule that a name, or a variable that holds a function, stands for.

    Raises OptionError or NameNotFoundError.
    """
    own = namespace.get(text)
    if callable(own) and text not in registry.names("lr_schedules"):
        return lr_schedules.of_function(own, str(getattr(own, "__name__", text)))
    found = lr_schedules.make(text)
    found.factor(1, 1)  # a schedule inside another one may be unknown
    return found


def sampling(text: str, namespace: Mapping[str, Any], parties: list[str]) -> Sampling:
    """Return the sampling that a name, or a variable, stands for.

    A variable holds a function, or names of parties.
    parties: those that train. Raises OptionError or NameNotFoundError.
    """
    if text == "uniform":
        return SamplingContext.uniform
    own = namespace.get(text)
    if own is not None and text not in registry.names("samplings"):
        if callable(own):
            made: Sampling = samplings.promote(own)
            return made
        if isinstance(own, Mapping | list | tuple):
            return samplings.make(f"named:{text}", namespace, parties)
    return samplings.make(text, namespace, parties)


def check_lr_schedule(text: str) -> None:
    """Raise OptionError or NameNotFoundError for text that names no schedule."""
    lr_schedule(text, {})


def check_sampling(text: str) -> None:
    """Raise OptionError or NameNotFoundError for text that names no sampling."""
    registry.bind("samplings", text)


def parse_roles(text: str) -> dict[str, str]:
    """Return party -> role. Raises OptionError for any other text.

    >>> parse_roles("clinic 5=evaluate; clinic 6=train")
    {'clinic 5': 'evaluate', 'clinic 6': 'train'}
    """
    found: dict[str, str] = {}
    for part in filter(str.strip, text.split(";")):
        party, sign, role = (word.strip() for word in part.rpartition("="))
        if not sign or not party or role not in ROLES:
            raise OptionError(
                f"{option('roles')} can't read {part.strip()!r}",
                "write party=evaluate, or party=train for one that only trains, several with ; "
                "between: clinic 5=evaluate;clinic 6=train",
                option="roles",
                value=text,
                allowed=ROLES,
            )
        found[party] = role
    return found


def with_roles(data: PartitionedData, text: str) -> PartitionedData:
    """Return the parties with the roles that `roles` gives them, and notes about their rows.

    Raises OptionError for a party that there is not, or where nobody would train or be measured.
    """
    roles = parse_roles(text)
    known = [party.id for party in data.parties]
    if unknown := [party for party in roles if party not in known]:
        raise OptionError(
            f"{option('roles')} names {unknown[0]!r}, and there is no such party",
            f"{nearest(unknown[0], known)}there are: {', '.join(known[:10])}",
            option="roles",
            value=text,
        )
    parties, notes, labels = [], [], dict(data.labels)
    use = "are not used" if data.schema.table is None else "only count in the table's statistics"
    for party in data.parties:
        role = roles.get(party.id)
        if role == "evaluate":
            notes.append(
                f"roles: {party.id} only evaluates, on its {party.num_test} test rows; its "
                f"{party.num_examples} training rows {use}"
            )
            party = replace(party, trains=False)
            labels[party.id] = (labels[party.id][0][:0], labels[party.id][1])
        elif role == "train":
            unused = f"; its {party.num_test} test rows are not used" if party.num_test else ""
            notes.append(f"roles: {party.id} only trains{unused}")
            party = replace(party, test=None)
            labels[party.id] = (labels[party.id][0], labels[party.id][1][:0])
        parties.append(party)
    if not any(party.trains for party in parties):
        raise OptionError(
            f"{option('roles')} leaves no party that trains", "let some train", option="roles"
        )
    without = [p.id for p in parties if not p.trains and not p.num_test]
    if without:
        raise OptionError(
            f"{option('roles')}: {without[0]} has no test rows to evaluate on",
            f"hold some back with {option('holdout', 0.2)}, or give it a test set",
            option="roles",
        )
    if data.test is None and not any(party.num_test for party in parties):
        raise OptionError(
            f"{option('roles')} leaves no test row to measure the model on",
            "let a party evaluate, or give a central test set",
            option="roles",
        )
    return replace(data, parties=tuple(parties), labels=labels, notes=(*data.notes, *notes))
