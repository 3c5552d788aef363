"""What stands beside the configuration: look before you train, change, compare, take away."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from fusion_nb.core import registry
from fusion_nb.errors import FusionError, RunError
from fusion_nb.notebook.panel.controls import Choice, Control, Entry
from fusion_nb.notebook.panel.messages import of_error, plain
from fusion_nb.reporting import charts
from fusion_nb.reporting.formatting import number
from fusion_nb.runs import session
from fusion_nb.runs.changes import CHANGEABLE
from fusion_nb.runs.preview import Preview
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

#: Makes a button: its text, what it does in words, and what it does.
Maker = Callable[[str, str, Callable[[], Any]], widgets.Button]
_ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}


class Looking:
    """The split, warnings and the cost of the run that is configured."""

    def __init__(self, button: Maker, look: Callable[[], Any]) -> None:
        self.button = button(
            "Preview", "show who would hold what, and what the run would cost", look
        )
        self._found = widgets.HTML(
            plain("Who would hold what, what there is to warn of, and what the run would cost.")
        )
        self.box = widgets.VBox([self.button, self._found])

    def show(self, preview: Preview) -> None:
        """Show what was found."""
        notes = "".join(f"<div>{html.escape(note)}</div>" for note in preview.notes)
        cost = f'<div style="line-height:1.8"><b>{html.escape(str(preview.cost))}</b></div>'
        self._found.value = (
            f'<div role="status">{cost}{notes}</div>{charts.image_tag(preview.chart)}'
        )


class Changing:
    """Options that can be other ones from the next round on; what is left empty stays as it is."""

    def __init__(self, button: Maker, apply: Callable[[], Any]) -> None:
        self.controls: dict[str, Control] = {name: self._make(name) for name in CHANGEABLE}
        self.button = button(
            "Change from the next round on", "the chart marks it, and the history keeps it", apply
        )
        row = widgets.Box([control.box for control in self.controls.values()], layout=_ROW)
        self.box = widgets.VBox(
            [widgets.HTML("What is left empty stays as it is."), row, self.button]
        )

    def apply(self, change: Callable[..., Any]) -> None:
        """Give what was filled in to `change`, and leave everything empty again if that goes
        well.
        """
        change(**{name: control.text for name, control in self.controls.items() if control.text})
        for control in self.controls.values():
            control.set("")

    def _make(self, name: str) -> Control:
        help = str(RunSpec.model_fields[name].description)
        if name == "fusion":
            names = partial(registry.names, "fusions")
            return Choice("fusion", help, names, kind="fusions", blank="as it is")
        return Entry({"lr": "learning rate"}.get(name, name), help, str, "")


class Comparing:
    """The runs of this kernel: ticked ones are drawn over each other, and any can be loaded into
    the controls.
    """

    def __init__(self, button: Maker, load: Callable[[Run], Any]) -> None:
        self._ticks: dict[str, widgets.Checkbox] = {}
        self._list = widgets.VBox()
        self._chart = widgets.HTML()
        self.chosen = widgets.Dropdown(
            description="run", tooltip="the run whose options are loaded"
        )
        self.button = button(
            "Load its options",
            "put a run's options into the controls",
            lambda: load(self._chosen()),
        )
        row = widgets.Box([self.chosen, self.button], layout=_ROW)
        self._none = widgets.HTML("No run in this kernel yet.")
        self.box = widgets.VBox([self._none, self._list, self._chart, row])
        self.refresh()

    def refresh(self) -> None:
        """List the runs that there are now; ticks stay."""
        names = list(session.RUNS)
        for name in [name for name in self._ticks if name not in names]:
            del self._ticks[name]
        for name in [name for name in names if name not in self._ticks]:
            tick = widgets.Checkbox(False, indent=False, layout={"width": "auto"})
            tick.observe(lambda _: self.draw(), "value")
            self._ticks[name] = tick
        for name, tick in self._ticks.items():
            tick.description = _line(session.RUNS[name])
        if list(self._list.children) != list(self._ticks.values()):
            self._list.children = list(self._ticks.values())
        if names != list(self.chosen.options):
            kept = self.chosen.value
            self.chosen.options = names
            self.chosen.value = kept if kept in names else (names[-1] if names else None)
        self._none.layout.display = "none" if names else ""
        if self._chart.value:
            self.draw()

    def draw(self) -> None:
        """Draw the curves of the ticked runs."""
        ticked: Mapping[str, Run] = {
            n: session.RUNS[n]
            for n, tick in self._ticks.items()
            if tick.value and n in session.RUNS
        }
        try:
            self._chart.value = charts.image_tag(session.compare(ticked)) if ticked else ""
        except FusionError as error:  # they are measured in other metrics
            self._chart.value = of_error(error)

    def _chosen(self) -> Run:
        if self.chosen.value not in session.RUNS:
            raise RunError("there is no run in this kernel yet", "Start makes one")
        return session.RUNS[self.chosen.value]


def _line(run: Run) -> str:
    """Return a run in so few words that they stand in one line."""
    metric, last = run.chart_metrics[1], run.records.last()
    reached = f", {metric} {number(last[metric])}" if metric in last else ""
    return (
        f"{run.name}: {run.status}, {len(run.records)} rounds of "
        f"{run.result().chosen['fusion']}{reached}"
    )


class Taking:
    """Files of the fused model, and text that repeats the run."""

    def __init__(self, button: Maker, export: Callable[[], Any]) -> None:
        wide: dict[str, Any] = {"style": {"description_width": "7.5em"}}
        self._folder = widgets.Text(
            "fused", description="folder", tooltip="a new folder for the files", **wide
        )
        self._format = widgets.Dropdown(
            description="format", tooltip="how the weights are written", **wide
        )
        self._which = widgets.Dropdown(
            options=[("last round", "last"), ("best round", "best")],
            description="weights of",
            **wide,
        )
        self._overwrite = widgets.Checkbox(
            False, description="replace an earlier export", indent=False
        )
        self.button = button(
            "Export", "write the fused model, a card, the history and the chart", export
        )
        self._files = widgets.HTML()
        row = widgets.Box(
            [self._folder, self._format, self._which, self._overwrite, self.button], layout=_ROW
        )
        kinds = ("as a cell", "as Python", "as YAML")
        self._texts = [
            widgets.Textarea(description=kind, rows=4, layout={"width": "98%"}, **wide)
            for kind in kinds
        ]
        hint = widgets.HTML(
            "Copy one of these: it repeats this run exactly, where the same variables are."
        )
        self._repeat = widgets.VBox([hint, *self._texts], layout={"display": "none"})
        self.box = widgets.VBox([row, self._files, self._repeat])

    def options(self) -> dict[str, Any]:
        """Return what `run.export` is to be given."""
        chosen = {
            "format": self._format.value or "",
            "which": self._which.value,
            "overwrite": self._overwrite.value,
        }
        return {"path": self._folder.value.strip() or "fused", **chosen}

    def show(self, run: Run) -> None:
        """Offer the formats of a run, and the text that repeats it as it is now."""
        if list(self._format.options) != run.formats:
            self._format.options = run.formats
            self._format.value = run.formats[0]
        spec = run.repeatable_spec
        for box, text in zip(
            self._texts, (spec.to_cell(), spec.to_python(), spec.to_yaml()), strict=True
        ):
            if box.value != text:  # somebody may be about to copy it
                box.value = text
        self._repeat.layout.display = ""

    def list_files(self, files: Sequence[Path]) -> None:
        """Show what was written."""
        listed = "".join(f"<div>{html.escape(str(path))}</div>" for path in files)
        self._files.value = f'<div role="status" style="line-height:1.5">written:{listed}</div>'
