"""The contributions of parties to the fused model: values, tables and charts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from fusion_nb.core.types import Metrics
from fusion_nb.errors import RunError, option, python_spelling
from fusion_nb.reporting import charts
from fusion_nb.reporting.charts import Chart, image_tag
from fusion_nb.reporting.formatting import html_table, number
from fusion_nb.reporting.templates import render, shortened

if TYPE_CHECKING:
    import pandas as pd

#: Parties of a table in a notebook, and characters of a name in it.
_MAX_ROWS, _MAX_NAME = 60, 60
_IMAGES = "{% for image in images %}<div>{{ image }}</div>{% endfor %}"


@dataclass(frozen=True)
class Contribution:
    """One party's value, and its interval of 95 % where it was sampled; else the value twice."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Contributions:
    """The contributions of parties to the fused model, by a metric.

    metric:     the one that values are differences of: positive where a party makes it better
    values:     method -> party -> its value
    cross_site: party -> party -> the metric of the first one's model, trained alone, on the test
                rows of the second; empty where it was not asked for
    num_trainings: those that it took
    kind:       the model whose metric `own` and `unseen` hold: fused, personal or local
    own:        party -> that metric on its own test rows
    unseen:     the same of parties that never trained, on all of their rows
    """

    metric: str
    values: Mapping[str, Mapping[str, Contribution]] = field(default_factory=dict)
    cross_site: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    num_trainings: int = 0
    kind: str = "fused"
    own: Mapping[str, float] = field(default_factory=dict)
    unseen: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_measured(self) -> bool:
        """Whether anything was measured beside the run itself."""
        return bool(self.values or self.cross_site or self.unseen)

    @property
    def cost(self) -> str:
        """The trainings that it took beside the run's own, in words."""
        if not self.num_trainings:
            return "no further training"
        word = "training" if self.num_trainings == 1 else "trainings"
        return f"{self.num_trainings} further {word} in all"

    def of(self, party: str) -> Metrics:
        """Return a party's values by method, with `_low` and `_high` where they were sampled."""
        found: Metrics = {}
        for method, values in self.values.items():
            if (each := values.get(party)) is None:
                continue
            found[method] = each.value
            if each.low < each.high:
                found |= {f"{method}_low": each.low, f"{method}_high": each.high}
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each party."""
        import pandas as pd

        parties = dict.fromkeys(party for values in self.values.values() for party in values)
        return pd.DataFrame([{"party": party} | self.of(party) for party in parties])

    def cross_site_frame(self) -> pd.DataFrame:
        """Return the cross-site matrix: a row for each model, a column for the rows it is on."""
        import pandas as pd

        frame = pd.DataFrame.from_dict(self.cross_site, orient="index")
        return frame.rename_axis(index="model of", columns=f"{self.metric} on the rows of")

    def plot(self) -> Chart:
        """Return the chart of parties: a bar for each by its metric and by each method.

        Parties that never trained stand at the end. Raises RunError where nothing was measured.
        """
        if not (self.values or self.unseen or self.own):
            raise self._nothing()
        what = f"contribution to {self.metric}" if self.values else "parties"
        return charts.contributions(
            f"{what}: {self.cost}",
            (f"{self.kind} {self.metric}", self.metric, self.own),
            self.unseen,
            {
                method: {party: (v.value, v.low, v.high) for party, v in values.items()}
                for method, values in self.values.items()
            },
        )

    def plot_cross_site(self) -> Chart:
        """Return the cross-site matrix as a picture. Raises RunError where it was not measured."""
        if not self.cross_site:
            raise self._nothing("cross_site")
        title = f"{self.metric} of each party's model, trained alone: {self.cost}"
        return charts.cross_site(title, self.metric, self.cross_site)

    def charts(self) -> dict[str, Chart]:
        """Return the charts of what was measured beside the run, by the names of their files."""
        found = {"parties": self.plot()} if self.values or self.unseen else {}
        return found | ({"cross_site": self.plot_cross_site()} if self.cross_site else {})

    def images(self) -> Markup:
        """Return these charts as HTML, or "" where nothing was measured."""
        return render(_IMAGES, images=map(image_tag, self.charts().values()))

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Contributions:
        """Return the contributions that `to_dict` made these values from."""
        values = {
            method: {party: Contribution(**value) for party, value in of_parties.items()}
            for method, of_parties in found["values"].items()
        }
        return cls(**{**found, "values": values})

    def __repr__(self) -> str:
        parts = [self.to_frame().to_string(index=False)] if self.values else []
        parts += [self.cross_site_frame().to_string()] if self.cross_site else []
        named = [f"{party} {number(value)}" for party, value in self.unseen.items()]
        parts += [f"never trained: {self.metric} {', '.join(named)}"] if named else []
        return "\n\n".join(parts) or "no contributions: give the option contribution"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        if not self.is_measured:
            return {"text/plain": repr(self)}
        table = html_table(self._table()) if self.values else ""
        first = next(iter(self.charts().values()))
        return {
            "text/html": str(self.images() + table),
            "image/png": first.png,
            "text/plain": repr(self),
        }

    def _table(self) -> list[list[str]]:
        parties = list(dict.fromkeys(p for values in self.values.values() for p in values))
        columns = list(dict.fromkeys(name for party in parties for name in self.of(party)))
        rows = [
            [shortened(party, _MAX_NAME), *(number(self.of(party).get(name)) for name in columns)]
            for party in parties[:_MAX_ROWS]
        ]
        if (hidden := len(parties) - _MAX_ROWS) > 0:
            rows.append([f"and {hidden} more: .to_frame()", *[""] * len(columns)])
        return [["party", *columns], *rows]

    def _nothing(self, methods: str = "shapley") -> RunError:
        error = RunError(
            "this was not measured after the run", f"train with {option('contribution', methods)}"
        )
        error.spelling = python_spelling
        return error
