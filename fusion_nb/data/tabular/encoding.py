"""The encoding of all parties' tables: fitted to training rows, then applied to every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion_nb.core import registry
from fusion_nb.core.schema import DataSchema, RowSchema
from fusion_nb.core.types.table import TableColumns, TableSchema
from fusion_nb.data.arrays import Arrays
from fusion_nb.data.tabular.columns import ColumnForm
from fusion_nb.data.tabular.sums import PartyTable
from fusion_nb.errors import DataError, option

#: Rows before they are encoded: columns by name, and labels.
TableRows = tuple[TableColumns, np.ndarray]

#: How values are read that are missing where no training row lacked them.
GAPS = (
    "numbers are filled from all parties' training rows, categories are read as other or as none, "
    "and the model never learned from such rows"
)


@dataclass(frozen=True)
class Encoded:
    """Rows of numbers, in the order of the tables that they were made from, and their schema."""

    rows: tuple[Arrays, ...]
    schema: DataSchema
    notes: tuple[str, ...]


def fit(text: str, training: Sequence[TableRows], forms: Mapping[str, ColumnForm]) -> TableSchema:
    """Return the encoding that the parties agree on.

    text:     the option, as `auto:impute=median`;  training: the training rows of each party
    """
    made: TableSchema = registry.create("tabular", text).fit(
        [PartyTable(columns) for columns, _ in training], forms
    )
    return made


def encode(
    table: TableSchema,
    schema: DataSchema,
    training: Sequence[TableRows],
    tests: Sequence[TableRows],
    forms: Mapping[str, ColumnForm],
) -> Encoded:
    """Return all rows encoded as float32: those that are trained on first, then the test rows."""
    rows = tuple((to_float32(table, columns), y) for columns, y in (*training, *tests))
    low = min(float(x.min()) for x, _ in rows)
    high = max(float(x.max()) for x, _ in rows)
    made = RowSchema("numbers", (len(table.inputs),), table.inputs, low, high, dtype="float32")
    notes = [*table.notes(), *_of_tests(table, [columns for columns, _ in tests])]
    numeric = [name for name in table.names if forms[name].is_numeric_text]
    if numeric:
        notes.append(
            f"warning: {', '.join(numeric)} is text that is numbers, and read as categories; "
            f"pandas.to_numeric(frame[{numeric[0]!r}]) makes numbers"
        )
    return Encoded(rows, replace(schema, rows=made, table=table), tuple(notes))


def to_float32(table: TableSchema, columns: TableColumns) -> np.ndarray:
    """Return a table's inputs as models take them. Raises DataError for numbers beyond float32."""
    found = table.encode(columns)
    with np.errstate(over="ignore"):
        x = found.astype(np.float32)
    bad = ~np.isfinite(x).all(0)
    if bad.any():
        name = table.inputs[int(np.flatnonzero(bad)[0])]
        raise DataError(
            f"the numbers of {name!r} are too large for a model",
            f"give them in another unit, or use {option('tabular', 'auto:scale=standard')}",
        )
    return np.ascontiguousarray(x)


def _of_tests(table: TableSchema, parts: Sequence[TableColumns]) -> list[str]:
    """Return notes about test rows: gaps, and categories, that no training row has."""
    missing = {c.name: sum(c.num_unmarked(part[c.name]) for part in parts) for c in table}
    said = ", ".join(f"{name} ({count} rows)" for name, count in missing.items() if count)
    notes = [f"warning: tabular: values are missing in test rows only: {said}; {GAPS}"]
    return [*(notes if said else []), *_unseen(table, parts)]


def _unseen(table: TableSchema, parts: Sequence[TableColumns]) -> list[str]:
    """Return a note about categories of test rows that no training row has."""
    found: list[str] = []
    for column in table.columns:
        seen = {name for columns in parts for name in column.unseen(columns[column.name])}
        if seen and not column.has_other:
            found.append(f"{column.name} ({len(seen)})")
    if not found:
        return []
    return [
        f"tabular: categories that only test rows have are read as none of those known: "
        f"{', '.join(found)}"
    ]


def no_table(name: str, text: str) -> DataError:
    """Return the error for the option where the rows are no table."""
    return DataError(
        f"{option('tabular', text)} encodes tables, and the rows of {name} are no DataFrame",
        f"leave {option('tabular')} out for arrays, or give a DataFrame with named columns",
        option="tabular",
    )
