"""A report of scores: of each class, and of each party."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion_nb.reporting.formatting import html_table, number, text_table
from fusion_nb.reporting.templates import shortened

if TYPE_CHECKING:
    import pandas as pd

#: A name, and its scores by name.
Row = tuple[str, Mapping[str, float]]
#: Rows of a table as text or HTML, and characters of a name in it.
_MAX_ROWS, _MAX_NAME = 30, 40


@dataclass(frozen=True)
class Scores:
    """Scores of several classes or parties: a table, in text, in HTML and as a DataFrame.

    of: what a row is about;  rows: each with its scores, NaN for one that it has no value of
    """

    of: str
    rows: Sequence[Row]

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each class or party."""
        import pandas as pd

        names = pd.Index([name for name, _ in self.rows], name=self.of)
        return pd.DataFrame([dict(scores) for _, scores in self.rows], index=names)

    def table(self) -> list[list[str]]:
        """Return the header and the rows of a table as text."""
        columns = list(dict.fromkeys(name for _, scores in self.rows for name in scores))
        shown = [
            [shortened(name, _MAX_NAME), *(_cell(column, scores) for column in columns)]
            for name, scores in self.rows[:_MAX_ROWS]
        ]
        if (left := len(self.rows) - _MAX_ROWS) > 0:
            shown.append([f"and {left} more: .to_frame()", *[""] * len(columns)])
        return [[self.of, *columns], *shown]

    def __repr__(self) -> str:
        return "\n".join(text_table(self.table()))

    def _repr_html_(self) -> str:
        return str(html_table(self.table()))


@dataclass(frozen=True)
class Report:
    """The scores of a model on the test rows.

    classes: of each class: precision, recall, f1 and support (its rows), and their averages; empty
             where labels are numbers
    parties: of each party: its scores, and support (its test rows)
    """

    classes: Scores
    parties: Scores

    def to_frame(self) -> pd.DataFrame:
        """Return the DataFrame of classes; that of parties where labels are numbers."""
        return self.classes.to_frame() if self.classes.rows else self.parties.to_frame()

    def __repr__(self) -> str:
        parts = [self.classes, self.parties] if self.classes.rows else [self.parties]
        return "\n\n".join(map(repr, parts))

    def _repr_html_(self) -> str:
        parts = [self.classes, self.parties] if self.classes.rows else [self.parties]
        return "".join(str(html_table(part.table())) for part in parts)


def _cell(column: str, scores: Mapping[str, float]) -> str:
    value = scores.get(column, math.nan)
    if math.isnan(value):
        return "–"
    return str(int(value)) if column == "support" else number(value)
