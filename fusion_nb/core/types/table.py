"""The agreement about a table: what its columns are, and how they become a model's inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

#: Names of columns that one line lists.
_SHOWN = 8

ColumnKind = Literal["number", "flag", "date", "category"]
#: Columns of a table by name: float64 with NaN where a value is missing, or, for categories, text
#: with None.
TableColumns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ColumnSchema:
    """One column of a table, by the statistics of all parties' training rows.

    kind:       "flag" is no and yes, as 0 and 1; "date" is days since 1970-01-01
    count, num_missing: training rows with a value, and without one
    mean, sd:   of the numbers that are there; the standard deviation is that of the population
    fill:       the number that a missing one becomes, and `filled_with` its name
    fill_error: how far `fill` may be from the median of all rows
    center, unit: subtracted from each number, and dividing it after that
    categories: the names in the order of their inputs
    num_grouped: how many categories were too rare to be listed
    """

    name: str
    kind: ColumnKind
    count: int = 0
    num_missing: int = 0
    mean: float | None = None
    sd: float | None = None
    fill: float | None = None
    filled_with: str = ""
    fill_error: float = 0.0
    center: float = 0.0
    unit: float = 1.0
    categories: tuple[str, ...] = ()
    num_grouped: int = 0

    @property
    def has_missing(self) -> bool:
        """Whether missing values have an input of their own, as some training row had none."""
        return self.num_missing > 0

    @property
    def has_other(self) -> bool:
        """Whether there is an input for all categories that are not listed."""
        return self.num_grouped > 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs that the column becomes."""
        if self.kind != "category":
            return (self.name, *self._extra)
        return (*(f"{self.name}={category}" for category in self.categories), *self._extra)

    @property
    def _extra(self) -> list[str]:
        flags = {"other": self.has_other, "missing": self.has_missing}
        return [f"{self.name} ({what})" for what, is_there in flags.items() if is_there]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return the inputs (rows, inputs) of the column's values, as float64.

        Of a category that is not listed, the input "other" is 1, where there is one; and all inputs
        are 0 where no training row had such a category.
        """
        if self.kind == "category":
            return self._encode_categories(values)
        is_missing = np.isnan(values)
        filled = np.where(is_missing, 0.0 if self.fill is None else self.fill, values)
        found = [(filled - self.center) / self.unit]
        found += [is_missing.astype(np.float64)] if self.has_missing else []
        return np.stack(found, 1)

    def _encode_categories(self, values: np.ndarray) -> np.ndarray:
        number = {name: i for i, name in enumerate(self.categories)}
        other = len(number) if self.has_other else -1
        missing = len(self.inputs) - 1 if self.has_missing else other
        codes = np.array(
            [missing if value is None else number.get(value, other) for value in values], np.int64
        )
        found = np.zeros((len(values), len(self.inputs)))
        rows = np.flatnonzero(codes >= 0)
        found[rows, codes[rows]] = 1.0
        return found

    def num_unmarked(self, values: np.ndarray) -> int:
        """Return how many values are missing, where no training row lacked one to learn from."""
        if self.has_missing:
            return 0
        if self.kind == "category":
            return sum(value is None for value in values)
        return int(np.isnan(values).sum())

    def unseen(self, values: np.ndarray) -> list[str]:
        """Return the different categories among values that are not listed, in order."""
        if self.kind != "category":
            return []
        return sorted({value for value in values if value is not None} - {*self.categories})


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table at all parties, and how they become a model's inputs.

    columns:  those that become inputs, in their order
    left_out: each of the others, with the reason
    """

    columns: tuple[ColumnSchema, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the table's columns that become inputs."""
        return tuple(column.name for column in self.columns)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs, in order."""
        return tuple(name for column in self.columns for name in column.inputs)

    def encode(self, columns: TableColumns) -> np.ndarray:
        """Return the inputs (rows, inputs) of a table's columns, as float64."""
        return np.concatenate([c.encode(columns[c.name]) for c in self.columns], axis=1)

    def __getitem__(self, name: str) -> ColumnSchema:
        """Return a column by its name. Raises KeyError for one that becomes no input."""
        return {column.name: column for column in self.columns}[name]

    def __iter__(self) -> Iterator[ColumnSchema]:
        return iter(self.columns)

    def notes(self) -> list[str]:
        """Return how the table was read, as sentences."""
        found = [f"tabular: {self.describe()}"]
        filled = [c for c in self.columns if c.num_missing and c.kind != "category"]
        if filled:
            said = _listed([f"{c.name} ({c.num_missing} rows)" for c in filled])
            found.append(
                f"tabular: missing values of {said} are filled with the {filled[0].filled_with} of "
                "all parties' training rows, and marked in an input of their own"
            )
        if dates := [c.name for c in self.columns if c.kind == "date"]:
            found.append(f"tabular: dates ({_listed(dates)}) are read as days since 1970-01-01")
        if grouped := [c for c in self.columns if c.num_grouped]:
            said = _listed([f"{c.name} ({c.num_grouped})" for c in grouped])
            found.append(
                "tabular: categories that are rare or that too few parties have are read as one, "
                f"'other': {said}"
            )
        if self.left_out:
            said = _listed([f"{name} ({reason})" for name, reason in self.left_out])
            found.append(f"warning: columns of the table are left out: {said}")
        return found

    def describe(self) -> str:
        """Return the columns by their kinds, and the number of inputs, in one line."""
        named = {"number": "numbers", "flag": "flags", "date": "dates", "category": "categories"}
        kinds = {word: [c.name for c in self.columns if c.kind == k] for k, word in named.items()}
        parts = [f"{word}: {_listed(names)}" for word, names in kinds.items() if names]
        one = len(self.columns) == 1
        return (
            f"{len(self.columns)} {'column becomes' if one else 'columns become'} "
            f"{len(self.inputs)} inputs; {'; '.join(parts)}"
        )

    def __str__(self) -> str:
        return "\n".join([self.describe(), *(", ".join(c.inputs) for c in self.columns)])

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TableSchema:
        """Return the schema that `to_json` wrote, also after a way through JSON."""
        columns = [
            ColumnSchema(**{**column, "categories": tuple(column["categories"])})
            for column in found["columns"]
        ]
        return cls(tuple(columns), tuple((str(n), str(why)) for n, why in found["left_out"]))


def _listed(names: Sequence[str]) -> str:
    """Return names in words; the later ones of many are counted."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
