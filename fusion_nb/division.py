"""From one pool of rows to parties: read, divide, hold test rows back, and say what a user should know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion_nb import data, registry, seeds, sources, splits
from fusion_nb.errors import DataError, SplitError
from fusion_nb.party import Party

_DEFAULT_PARTIES = 4


@dataclass
class Division:
    """Parties with their rows, before any model is looked at.

    test:    the aggregator's own test set, or None
    classes: names of the classes where labels were text
    notes:   what the user should know, as sentences; a warning starts with "warning:"
    """

    parties: list[Party]
    test: Any = None
    classes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        namespace: Mapping[str, Any],
        *,
        data: str,
        data_handler: str,
        label: str,
        split: str,
        parties: int | None,
        holdout: float,
        seed: int,
    ) -> Division:
        """Read and divide data, as the options of the same names in a RunSpec say.

        Raises DataError, SplitError or NameNotFoundError for what can't be read or divided.
        """
        function, options = registry.bind("splits", split)
        # An option of this kind names a column or variable; the split is given the values themselves.
        per_row = next(
            (o.name for o in registry.signature_options(function) if o.opt.per_row and o.name in options), ""
        )
        column = str(options.get(per_row, ""))
        source = sources.read(data, namespace, handler=data_handler, label=label, key=column)
        notes = list(source.notes)
        if source.parties is not None:
            everyone = _as_given(source.parties, split, parties, holdout, seed)
            notes.append(f"split: as given, {len(everyone)} parties")
        else:
            keys = sources.column(source, column, namespace) if column else None
            if keys is not None:
                options[per_row] = keys
            everyone = _divided(source.train, split, function, options, keys, parties, holdout, seed)
        made = cls(everyone, source.test, source.classes, notes)
        if made.test is None and not any(party.num_test for party in everyone):
            raise DataError("there is no test row to measure the model on", "use --holdout 0.2, or give a test set")
        made._warn()
        return made

    def class_name(self, label: int) -> str:
        """Return the text that a class had in the data, or its number."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)

    def label_counts(self) -> dict[str, dict[int, int]]:
        """Return, per party, how many of its rows (training and test) each class of any party has.

        Empty for measurements.
        """
        counted = {party.id: data.label_counts(all_labels(party)) for party in self.parties}
        classes = sorted({label for counts in counted.values() for label in counts})
        return {party: {label: counts.get(label, 0) for label in classes} for party, counts in counted.items()}

    def sizes(self) -> dict[str, int]:
        """Return, per party, how many rows it has, its test rows included."""
        return {party.id: party.num_examples + party.num_test for party in self.parties}

    def _warn(self) -> None:
        untested = [party.id for party in self.parties if not party.num_test]
        if untested:
            where = "the central test set" if self.test is not None else "the other parties' rows"
            what = f"{len(untested)} of {len(self.parties)} parties have" if len(untested) > 1 else f"{untested[0]} has"
            self.notes.append(f"{what} no test rows of their own; the fused model is measured on {where}")
        trained = [data.labels(party.train) for party in self.parties]
        tested = [data.labels(rows) for rows in [self.test, *(p.test for p in self.parties)] if rows is not None]
        if all(data.is_classes(y) and y.ndim == 1 for y in [*trained, *tested]):
            seen = set(np.unique(np.concatenate(trained)).tolist())
            asked = set(np.unique(np.concatenate(tested)).tolist())
            if missing := sorted(asked - seen):
                names = ", ".join(self.class_name(label) for label in missing)
                self.notes.append(f"warning: no party has a training row of class {names}")


def all_labels(party: Party) -> np.ndarray:
    """Return the labels of a party's training and test rows."""
    return np.concatenate([data.labels(rows) for rows in (party.train, party.test) if rows is not None])


def _as_given(
    given: Mapping[str, tuple[Any, Any]], split: str, num_parties: int | None, holdout: float, seed: int
) -> list[Party]:
    if split != "iid":
        raise SplitError(f"--split {split}, but the data is already split", "leave --split out")
    if num_parties not in (None, len(given)):
        raise SplitError(f"--parties {num_parties}, but the data has {len(given)}", f"use --parties {len(given)}")
    return [
        Party(name, train, test)
        if test is not None
        else _party(name, train, data.labels(train), np.arange(data.size(train)), holdout, seed)
        for name, (train, test) in given.items()
    ]


def _divided(
    pool: Any,
    how: str,
    split: Any,
    options: dict[str, Any],
    keys: np.ndarray | None,
    num_parties: int | None,
    holdout: float,
    seed: int,
) -> list[Party]:
    labels, num_rows = data.labels(pool), data.size(pool)
    natural = [] if keys is None else [str(key) for key in np.unique(keys)]
    num_parties = num_parties or len(natural) or _DEFAULT_PARTIES
    if num_parties > num_rows:
        raise SplitError(f"--parties {num_parties}, but there are only {num_rows} rows", "use fewer parties")
    names = natural if len(natural) == num_parties else [f"party {i + 1}" for i in range(num_parties)]
    parts = split(labels, num_parties, seeds.stream(seed, "split"), **options)
    splits.check(parts, num_rows, names, how)
    return [_party(name, pool, labels, rows, holdout, seed) for name, rows in zip(names, parts, strict=True)]


def _party(name: str, pool: Any, labels: np.ndarray, rows: np.ndarray, holdout: float, seed: int) -> Party:
    train, test = splits.holdout(labels, rows, holdout, seeds.stream(seed, "holdout", name))
    return Party(name, data.take(pool, train), data.take(pool, test) if len(test) else None)
