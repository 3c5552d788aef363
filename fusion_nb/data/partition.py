"""From one pool of rows to parties: read, divide, hold test rows back, and say what a user should
know about it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion_nb.core import documents, registry, seeds
from fusion_nb.core import rows as rows_of
from fusion_nb.core.options import signature_options
from fusion_nb.core.party import Party
from fusion_nb.data import splits
from fusion_nb.data.loading import Source, column, read
from fusion_nb.errors import DataError, SplitError

_DEFAULT_PARTIES = 4
#: Whole numbers of more kinds than this are hardly classes: they are not counted one by one.
_MAX_CLASSES = 100


@dataclass
class Division:
    """Parties with their rows, before any model is looked at.

    labels:  per party, the labels of its training rows and of its own test rows
    test:    the aggregator's own test set or None, and its labels
    classes: names of the classes where labels were text
    notes:   what the user should know, as sentences; a warning starts with "warning:"
    """

    parties: list[Party]
    labels: dict[str, tuple[np.ndarray, np.ndarray]]
    test: Any = None
    test_labels: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
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
        # An option of this kind names a column or variable; the split is given the values
        # themselves.
        per_row = next(
            (o.name for o in signature_options(function) if o.is_per_row and o.name in options),
            "",
        )
        key = str(options.get(per_row, ""))
        source = read(data, namespace, handler=data_handler, label=label, key=key)
        made = cls([], {}, source.test, classes=source.classes, notes=list(source.notes))
        if source.test is not None:
            made.test_labels = source.labels["", "test"]
        if source.parties is not None:
            made._take_given(source, source.parties, split, parties, holdout, seed)
        else:
            keys = column(source, key, namespace) if key else None
            if keys is not None:
                options[per_row] = keys
            made._divide(
                source, split, functools.partial(function, **options), keys, parties, holdout, seed
            )
        # A model of documents can be watched by what it makes of those it was trained on.
        is_text = documents.are(made.parties[0].train)
        if made.test is None and not is_text and not any(party.num_test for party in made.parties):
            raise DataError(
                "there is no test row to measure the model on",
                "give a test set, use fewer parties, or hold rows back with --holdout 0.2",
            )
        made._note_untested()
        return made

    def class_name(self, label: int) -> str:
        """Return the text that a class had in the data, or its number."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)

    def all_labels(self) -> np.ndarray:
        """Return the labels of every row there is, the central test set's included."""
        every = [y for pair in self.labels.values() for y in pair if len(y)]
        return np.concatenate([*every, self.test_labels] if len(self.test_labels) else every)

    def label_counts(self, *, with_test: bool) -> dict[str, dict[int, int]]:
        """Return, per party, how many of its rows each class of any party has; empty for
        measurements.
        """
        counted = {
            party: rows_of.label_counts(
                np.concatenate([y for y in (train, test)[: 1 + with_test] if len(y)])
            )
            for party, (train, test) in self.labels.items()
        }
        classes = sorted({label for counts in counted.values() for label in counts})
        if len(classes) > _MAX_CLASSES:
            return {party: {} for party in counted}
        return {
            party: {label: counts.get(label, 0) for label in classes}
            for party, counts in counted.items()
        }

    def sizes(self) -> dict[str, int]:
        """Return, per party, how many rows it has, its test rows included."""
        return {party.id: party.num_examples + party.num_test for party in self.parties}

    def missing_classes(self) -> list[str]:
        """Return the classes that no party has a training row of: tested somewhere, or skipped in
        the numbering.
        """
        everything = self.all_labels()
        if not rows_of.is_classes(everything) or everything.ndim != 1 or not len(everything):
            return []
        trained = set(
            np.unique(np.concatenate([train for train, _ in self.labels.values()])).tolist()
        )
        asked = set(np.unique(everything).tolist())
        highest = max(asked)
        if min(asked) >= 0 and highest < _MAX_CLASSES:
            asked |= set(range(highest + 1))
        return [self.class_name(label) for label in sorted(asked - trained)]

    def _add(self, name: str, train: Any, test: Any, labels: tuple[np.ndarray, np.ndarray]) -> None:
        self.parties.append(Party(name, train, test))
        self.labels[name] = labels

    def _hold_back(
        self, name: str, pool: Any, y: np.ndarray, rows: np.ndarray, holdout: float, seed: int
    ) -> None:
        train, test = splits.holdout(y, rows, holdout, seeds.stream(seed, "holdout", name))
        own_test = rows_of.take(pool, test) if len(test) else None
        self._add(name, rows_of.take(pool, train), own_test, (y[train], y[test]))

    def _take_given(
        self,
        source: Source,
        given: Mapping[str, tuple[Any, Any]],
        split: str,
        num_parties: int | None,
        holdout: float,
        seed: int,
    ) -> None:
        if split != "iid":
            raise SplitError(f"--split {split}, but the data is already split", "leave --split out")
        if num_parties not in (None, len(given)):
            raise SplitError(
                f"--parties {num_parties}, but the data has {len(given)}",
                f"use --parties {len(given)}",
            )
        for name, (train, test) in given.items():
            y = source.labels[name, "train"]
            if test is None:
                self._hold_back(name, train, y, np.arange(len(y)), holdout, seed)
            else:
                self._add(name, train, test, (y, source.labels[name, "test"]))
        self.notes.append(f"split: as given, {len(given)} parties")

    def _divide(
        self,
        source: Source,
        how: str,
        split: Callable[..., list[np.ndarray]],
        keys: np.ndarray | None,
        num_parties: int | None,
        holdout: float,
        seed: int,
    ) -> None:
        y = source.labels["", "train"]
        num_rows = len(y)
        natural = [] if keys is None else [str(key) for key in np.unique(keys)]
        num_parties = num_parties or len(natural) or _DEFAULT_PARTIES
        if num_parties > num_rows:
            raise SplitError(
                f"--parties {num_parties}, but there are only {num_rows} rows", "use fewer parties"
            )
        names = (
            natural
            if len(natural) == num_parties
            else [f"party {i + 1}" for i in range(num_parties)]
        )
        parts = split(y, num_parties, seeds.stream(seed, "split"))
        splits.check(parts, num_rows, names, how)
        for name, rows in zip(names, parts, strict=True):
            self._hold_back(name, source.train, y, np.asarray(rows), holdout, seed)

    def _note_untested(self) -> None:
        untested = [party.id for party in self.parties if not party.num_test]
        if untested and (self.test is not None or len(untested) < len(self.parties)):
            where = "the central test set" if self.test is not None else "the other parties' rows"
            what = (
                f"{len(untested)} of {len(self.parties)} parties have"
                if len(untested) > 1
                else f"{untested[0]} has"
            )
            self.notes.append(
                f"{what} no test rows of their own; the fused model is measured on {where}"
            )
