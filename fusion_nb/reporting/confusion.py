"""A confusion matrix: how many test rows of each class are predicted as each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fusion_nb.reporting import charts
from fusion_nb.reporting.formatting import html_table, text_table
from fusion_nb.reporting.templates import shortened

if TYPE_CHECKING:
    import pandas as pd

#: Classes of a table as text or HTML, and characters of a class's name in it.
_MAX_CLASSES, _MAX_NAME = 20, 30


@dataclass(frozen=True)
class Confusion:
    """The test rows of each class, by the class that they are predicted as.

    matrix:  (classes, classes) of counts: labels down, predictions across
    classes: their names, in order;  title: whose rows they are

    >>> Confusion(np.array([[3, 1], [0, 2]]), ("no", "yes"), "all parties")
    all parties: 5 of 6 test rows right
      label  predicted no  predicted yes
      no     3             1
      yes    0             2
    """

    matrix: np.ndarray
    classes: tuple[str, ...]
    title: str = ""

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame of counts: labels down, predictions across."""
        import pandas as pd

        index = pd.Index(self.classes, name="label")
        return pd.DataFrame(
            self.matrix, index=index, columns=pd.Index(self.classes, name="predicted")
        )

    def plot(self) -> charts.Chart:
        """Draw the share of each class's rows by prediction, with the counts in the cells."""
        return charts.confusion(self.matrix, self.classes, self._line())

    def _line(self) -> str:
        right, total = int(np.trace(self.matrix)), int(self.matrix.sum())
        return f"{self.title}: {right} of {total} test rows right".removeprefix(": ")

    def _table(self) -> list[list[str]]:
        names = [shortened(name, _MAX_NAME) for name in self.classes[:_MAX_CLASSES]]
        rows = [
            [name, *(str(count) for count in row[:_MAX_CLASSES])]
            for name, row in zip(names, self.matrix, strict=False)
        ]
        return [["label", *(f"predicted {name}" for name in names)], *rows]

    @property
    def _rest(self) -> str:
        left = len(self.classes) - _MAX_CLASSES
        return f"and {left} classes more: see .to_frame()" if left > 0 else ""

    def __repr__(self) -> str:
        rest = [f"  {self._rest}"] if self._rest else []
        lines = [f"  {line}" for line in text_table(self._table())]
        return "\n".join([self._line(), *lines, *rest])

    def _repr_html_(self) -> str:
        chart = self.plot()
        table = html_table(self._table()) if len(self.classes) <= _MAX_CLASSES else ""
        return f"{charts.image_tag(chart)}{table}"
