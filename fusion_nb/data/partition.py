"""Partitioning: data is loaded, divided among parties, and test rows are held back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.items import Unreadable
from fusion_nb.core.party import Party
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types.table import TableSchema
from fusion_nb.data.arrays import DataSet
from fusion_nb.data.class_names import with_class_names
from fusion_nb.data.division import divide, encoded, with_own_tags
from fusion_nb.data.skews.score import score
from fusion_nb.errors import DataError, option

#: Whole numbers of more kinds than this are hardly classes: they are not counted one by one.
_MAX_CLASSES = 100


@dataclass(frozen=True)
class PartitionedData:
    """Parties with their rows, before any model is known.

    labels:  per party, the labels of its training rows and of its own test rows
    test:    the aggregator's own test set or None, and its labels
    schema:  what rows and labels are at all of them
    notes:   sentences for the user; a warning starts with "warning:"
    batch_size: of the loaders that the rows came in, or None
    are_given: whether the data came divided, as one set for each party
    unseen:  further parties, which never train
    """

    parties: tuple[Party, ...]
    labels: Mapping[str, tuple[np.ndarray, np.ndarray]]
    test: DataSet | None = None
    test_labels: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    schema: DataSchema = field(default_factory=DataSchema)
    notes: tuple[str, ...] = ()
    batch_size: int | None = None
    are_given: bool = False
    unseen: tuple[Party, ...] = ()

    @classmethod
    def load(
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
        quorum: float | None = None,
        tabular: str = "",
        table: TableSchema | None = None,
        keeps_missing: bool = False,
    ) -> PartitionedData:
        """Load data and divide it among parties, as the options of the same names in `RunSpec` say.

        With a quorum, a party whose rows can't be read fails in its rounds, and not before.
        table: the encoding of a run that goes on, in place of one that is fitted
        keeps_missing: leave a number that is missing NaN, for a model that takes such rows
        Raises DataError, SplitError or NameNotFoundError for data that can't be read or divided.
        """
        found = divide(
            namespace,
            data=data,
            data_handler=data_handler,
            label=label,
            split=split,
            parties=parties,
            holdout=holdout,
            seed=seed,
            may_fail=quorum is not None and quorum < 1,
            is_encoded=bool(tabular),
            keeps_missing=keeps_missing,
        )
        if tabular:
            found = encoded(found, tabular, data, table)
        source, shares, notes = found.source, found.shares, found.notes
        schema = with_class_names(source.schema, namespace.get(data))
        if schema is not source.schema:
            notes = (*notes, *(note for note in schema.notes() if note not in notes))
        if source.schema.rows.kind == "documents":
            shares, notes = with_own_tags(shares, notes)
        made = tuple(
            Party(share.party, share.train, share.test, drift=share.drift) for share in shares
        )
        # A model of documents can be evaluated on those that it was trained on.
        is_text = source.schema.rows.kind == "documents"
        if source.test is None and not is_text and not any(party.num_test for party in made):
            raise DataError(
                "there is no test row to measure the model on",
                f"give a test set, use fewer parties, or hold rows back with "
                f"{option('holdout', 0.2)}",
            )
        return cls(
            made,
            {share.party: share.labels for share in shares},
            source.test,
            source.labels.get(("", "test"), np.empty(0, dtype=np.int64)),
            schema,
            (*notes, *_untested_note(made, has_central_test=source.test is not None)),
            source.batch_size,
            source.parties is not None,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in order where labels were text."""
        return self.schema.labels.classes

    @property
    def example(self) -> DataSet:
        """The training rows of the first party whose rows can be read."""
        trained = (party.train for party in self.parties)
        return next(rows for rows in trained if not isinstance(rows, Unreadable))

    def class_name(self, label: int) -> str:
        """Return the text that a class had in the data, or its number."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)

    def all_labels(self) -> np.ndarray:
        """Return the labels of all rows of parties, and of the central test set."""
        every = [y for pair in self.labels.values() for y in pair if len(y)]
        every += [self.test_labels] if len(self.test_labels) else []
        return np.concatenate(every) if every else np.empty(0, dtype=np.int64)

    def label_counts(self, *, with_test: bool) -> dict[str, dict[int, int]]:
        """Return, per party, how many of its rows each class has; empty for measurements.

        Every party has a count, perhaps 0, for each class of any party.
        """
        counted = {
            party: rows_of.label_counts(
                np.concatenate([y for y in (train, test)[: 1 + with_test] if len(y)])
            )
            if len(train)
            else {}
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
        """Return how many rows each party has, its test rows included."""
        return {party.id: party.num_examples + party.num_test for party in self.parties}

    def skew_notes(self, seed: int = 0) -> list[str]:
        """Return sentences about how unlike the parties are, and those of a drift in round 1."""
        trained = [party for party in self.parties if len(self.labels[party.id][0])]
        rows = [party.train for party in trained]
        labels = [self.labels[party.id][0] for party in trained]
        if len(trained) < 2:
            return []
        found = [str(score(labels, rows, seed))]
        if any(party.drift for party in trained):
            now = [party.drift.positions(1) if party.drift else ... for party in trained]
            part = score([y[here] for y, here in zip(labels, now, strict=True)], [None], seed)
            if part.labels is not None:
                found.append(f"skew in round 1: labels {part.labels:.2f}")
        return found

    def missing_classes(
        self, ignored: int | None = None, *, skips_numbers: bool = False
    ) -> list[str]:
        """Return the classes without a training row at any party.

        A class is missing where only test rows have it, or where its number is skipped.
        ignored: a label that a loss leaves out, which is no class
        skips_numbers: the model has no output for a number that no label has
        """
        everything = _without(self.all_labels(), ignored)
        if not rows_of.is_classes(everything) or everything.ndim != 1 or not len(everything):
            return []
        train_labels = [train for train, _ in self.labels.values() if len(train)]
        trained = set(np.unique(np.concatenate(train_labels)).tolist())
        expected = set(np.unique(everything).tolist())
        highest = max(expected)
        if not skips_numbers and min(expected) >= 0 and highest < _MAX_CLASSES:
            expected |= set(range(highest + 1))
        return [self.class_name(label) for label in sorted(expected - trained)]


def _without(labels: np.ndarray, ignored: int | None) -> np.ndarray:
    return labels if ignored is None else labels[labels != ignored]


def _untested_note(parties: Sequence[Party], *, has_central_test: bool) -> list[str]:
    untested = [party.id for party in parties if not party.num_test]
    if not untested or (len(untested) == len(parties) and not has_central_test):
        return []
    where = "the central test set" if has_central_test else "the other parties' rows"
    is_one = len(untested) == 1
    who = f"{untested[0]} has" if is_one else f"{len(untested)} of {len(parties)} parties have"
    return [f"{who} no test rows of their own; the fused model is measured on {where}"]
