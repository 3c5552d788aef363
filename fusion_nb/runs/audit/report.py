"""The findings of an audit, as text, table and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_nb.reporting import charts
from fusion_nb.reporting.charts.chart import Chart
from fusion_nb.reporting.formatting import caption_html
from fusion_nb.reporting.result import Text
from fusion_nb.reporting.templates import render

if TYPE_CHECKING:
    import pandas as pd

_PAGE = "{{ caption }}{% if image %}{{ image }}{% endif %}"


@dataclass(frozen=True)
class Finding:
    """One measured leak.

    attack: row, rows, label or membership;  observer: who could do it, in words
    value:  an error, a share or an area, as `measure` says;  low, high: its interval of 95 %, NaN
            where it has none;  chance: the value of guessing, NaN where there is none
    """

    attack: str
    observer: str
    measure: str
    value: float
    sentence: str
    low: float = float("nan")
    high: float = float("nan")
    chance: float = float("nan")


@dataclass(frozen=True)
class Audit:
    """The facts that updates and the model of a run give away, measured on parties of this kernel.

    findings: one for each attack and observer;  notes: what could not be measured, and why
    row, rebuilt: a row of a party, and what each observer rebuilt of it, by a name
    chart:    pictures of these, where rows are pictures, or None
    """

    title: str
    findings: Sequence[Finding]
    notes: Sequence[str] = ()
    row: np.ndarray | None = field(default=None, repr=False)
    rebuilt: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    chart: Chart | None = field(default=None, repr=False)

    def summary(self) -> Text:
        """Return the findings as a few lines."""
        lines = [*(finding.sentence for finding in self.findings), *self.notes]
        return Text("\n".join([self.title, *(f"  {line}" for line in lines)]))

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each finding."""
        import pandas as pd

        names = ("attack", "observer", "measure", "value", "low", "high", "chance")
        return pd.DataFrame([{name: getattr(f, name) for name in names} for f in self.findings])

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        lines = [*(finding.sentence for finding in self.findings), *self.notes]
        image = charts.image_tag(self.chart) if self.chart else ""
        page = render(_PAGE, caption=caption_html(self.title, lines), image=image)
        return {"text/html": str(page), "text/plain": str(self.summary())}
