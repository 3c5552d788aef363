"""The data sets of a source, each brought from its own form into the one that all agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fusion_nb.core.items import Unreadable
from fusion_nb.core.schema import DataSchema
from fusion_nb.data import agreement, arrays, tables, texts
from fusion_nb.data.arrays import DataSet, Given
from fusion_nb.data.reports import report
from fusion_nb.data.source_kinds import Columns, Items, Raw, Table, Texts
from fusion_nb.data.tables import ReadOptions
from fusion_nb.data.tabular import columns as table_columns
from fusion_nb.data.tabular.columns import ColumnForm
from fusion_nb.data.unwrapping import is_table
from fusion_nb.errors import DataError

#: The party of a data set ("" for a pool), and "train" or "test".
Key = tuple[str, str]


@dataclass(frozen=True)
class Part:
    """One data set of a source: the training or the test rows of a party, or of a pool ("").

    where: how messages call it;  tag: begins the tags of documents that have none
    how: how the rows are read
    """

    party: str
    kind: Literal["train", "test"]
    raw: Columns | Texts | Items
    where: str
    tag: str
    how: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True)
class Agreed:
    """Rows and labels in the agreed form by (party, kind), the schema, and notes.

    forms: of a table's columns that are encoded later, or None
    """

    rows: Mapping[Key, DataSet]
    labels: Mapping[Key, np.ndarray]
    schema: DataSchema
    notes: tuple[str, ...]
    forms: Mapping[str, ColumnForm] | None = None


def without_table(
    raw: Raw, name: str, how: ReadOptions
) -> tuple[Columns | Texts | Items, tuple[str, ...]]:
    """Return rows whose columns are chosen, and notes that say which, if they are a table."""
    return tables.read(raw.frame, name, how) if isinstance(raw, Table) else (raw, ())


def converted(
    parts: Sequence[Part], *, may_fail: bool
) -> tuple[list[tuple[Part, Given]], dict[str, Unreadable]]:
    """Return the data sets with their labels, and the parties of which a row can't be read.

    Such a party has rows that raise the error. It is left out of the first result as a whole.
    """
    found: list[tuple[Part, Given]] = []
    failed: dict[str, Unreadable] = {}
    for part in parts:
        try:
            found.append((part, convert(part)))
        except DataError as error:
            if not (may_fail and part.party and isinstance(part.raw, Items)):
                raise
            is_given = isinstance(part.raw.dataset, Unreadable)
            if not is_given and error.__cause__ is None:  # rows of a wrong form are a mistake
                raise
            failed[part.party] = Unreadable(error, max(1, len(part.raw.dataset)))
    return [(part, given) for part, given in found if part.party not in failed], failed


def convert(part: Part) -> Given:
    """Return a data set as arrays of numbers, documents, rows one at a time, or a table."""
    columns: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    keeps_missing = part.how.keeps_missing
    match part.raw:
        case Texts(documents, labels):
            tables.check_aligned(documents, labels, part.where)
            order = _class_order(labels)
            found = texts.to_documents(documents, labels, part.where, part.tag)
            rows = arrays.to_arrays(found, part.where)
        case Columns(x, y, columns):
            tables.check_aligned(x, y, part.where)
            order = _class_order(y)
            if part.how.is_encoded and is_table(x):
                return _of_table(part, x, y, order)
            if not columns and is_table(x):
                x, columns = tables.numbers(x, part.where, keeps_missing=keeps_missing)
            rows = arrays.to_arrays((x, y), part.where, keeps_missing=keeps_missing)
        case Items(dataset):
            rows = arrays.to_arrays(dataset, part.where)
    return Given.of(
        rows,
        part.where,
        columns,
        is_trained_on=part.kind == "train",
        class_order=order,
        keeps_missing=keeps_missing,
    )


def _of_table(part: Part, frame: Any, y: Any, order: tuple[str, ...]) -> Given:
    """Return the rows of a table whose columns are encoded later."""
    table = table_columns.read_table(tables.with_text_names(frame, part.where), part.where)
    labels = arrays.to_arrays((np.zeros(len(frame)), y), part.where)
    assert isinstance(labels, tuple)
    return Given.of_table(
        table, labels[1], part.where, is_trained_on=part.kind == "train", class_order=order
    )


def _class_order(labels: Any) -> tuple[str, ...]:
    """Return the order of a Categorical's classes, or () where it is that of their names."""
    order = table_columns.category_order(labels)
    return () if list(order) == sorted(order) else order


def agreed(parts: Sequence[tuple[Part, Given]]) -> Agreed:
    """Return data sets in the form that all agree on. Raises DataError where they differ."""
    reports = [report(data_set) for _, data_set in parts]
    schema = agreement.agree(reports)
    given = [data_set.table for _, data_set in parts if data_set.table is not None]
    forms = table_columns.agree_on_forms(given) if given else None
    rows: dict[Key, DataSet] = {}
    labels: dict[Key, np.ndarray] = {}
    for part, data_set in parts:
        key = part.party, part.kind
        rows[key], labels[key] = agreement.apply(schema, data_set)
        if forms is not None and data_set.table is not None:
            made: Any = (table_columns.conform(data_set.table, forms), labels[key])
            rows[key] = made
    return Agreed(rows, labels, schema, tuple(agreement.notes(reports, schema)), forms)
