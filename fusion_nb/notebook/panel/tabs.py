"""The tabs beside the configuration: preview, change, compare, export."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from markupsafe import escape

from fusion_nb.core import registry
from fusion_nb.errors import FusionError, RunError
from fusion_nb.notebook.chart import RunChart
from fusion_nb.notebook.chart.feed import steps_of
from fusion_nb.notebook.panel import messages
from fusion_nb.notebook.panel.controls import Choice, Control, Entry
from fusion_nb.notebook.panel.hints import hinted
from fusion_nb.notebook.panel.labels import label
from fusion_nb.reporting import charts
from fusion_nb.reporting.formatting import number
from fusion_nb.reporting.templates import render
from fusion_nb.runs import session
from fusion_nb.runs.changes import CHANGEABLE
from fusion_nb.runs.preview import Preview
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

#: Makes a button from its text, its help, and the function that it calls.
ButtonMaker = Callable[[str, str, Callable[[], object]], widgets.Button]

#: A button that copies the text beside it. A widget's button is pressed in the kernel, which has no
#: clipboard.
_COPY = """\
<button class="jupyter-button widget-button" style="width:auto" aria-label="Copy {{ kind }}" \
title="copy this text" onclick="const text=this.closest('.fusion-nb-copy').querySelector(\
'textarea');text.select();navigator.clipboard?navigator.clipboard.writeText(text.value):\
document.execCommand('copy');this.textContent='Copied'">Copy</button>"""
#: Characters in a line of a text that repeats a run, and lines that are shown without scrolling.
_LINE, _MAX_LINES = 80, 60
_ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}
_PREVIEW = """\
<div role="status"><div style="line-height:1.8"><b>{{ cost }}</b></div>\
<div style="line-height:1.5">{% for note in notes %}<div>{{ note }}</div>{% endfor %}</div>\
</div>{{ chart }}"""


class PreviewTab:
    """The split, the warnings and the cost of the configured run."""

    def __init__(self, button: ButtonMaker, preview: Callable[[], object]) -> None:
        self.button = button(
            "Preview", "show which party would hold which rows, and the cost of the run", preview
        )
        self._result = widgets.HTML(
            messages.news("The rows of each party, warnings, and the cost of the run.")
        )
        self.box = widgets.VBox([self.button, self._result])

    @property
    def result(self) -> str:
        """The result of the last preview, as HTML."""
        return str(self._result.value)

    def show(self, preview: Preview) -> None:
        """Show the result of a preview."""
        chart = charts.image_tag(preview.chart)
        self._result.value = render(_PREVIEW, cost=preview.cost, notes=preview.notes, chart=chart)


class ChangeTab:
    """Options that can change from the next round on; an empty control changes nothing."""

    def __init__(self, button: ButtonMaker, apply: Callable[[], object]) -> None:
        self.controls: dict[str, Control] = {name: _change_control(name) for name in CHANGEABLE}
        self.button = button(
            "Change from the next round on", "the chart marks it, and the history keeps it", apply
        )
        row = widgets.Box([control.box for control in self.controls.values()], layout=_ROW)
        self.box = widgets.VBox(
            [widgets.HTML("An option that is left empty stays as it is."), row, self.button]
        )

    def apply(self, change: Callable[..., object]) -> None:
        """Call `change` with the options that were filled in, and then empty the controls.

        They keep their values where `change` raises an error.
        """
        change(**{name: control.text for name, control in self.controls.items() if control.text})
        for control in self.controls.values():
            control.set("")


class CompareTab:
    """The runs of this kernel: those that are ticked are drawn in one chart.

    The options of each can be loaded into the controls.
    """

    def __init__(self, button: ButtonMaker, load: Callable[[Run], object]) -> None:
        self.ticks: dict[str, widgets.Checkbox] = {}
        self._list = widgets.VBox()
        self._chart, self._curves = widgets.HTML(), RunChart()
        self._drawn: tuple[tuple[str, int], ...] = ()
        self._curves.layout.display = "none"
        self._chosen = widgets.Dropdown(description="run")
        self.button = button(
            "Load its options",
            "put a run's options into the controls",
            lambda: load(self._chosen_run()),
        )
        chosen = hinted("the run whose options are loaded", self._chosen)
        row = widgets.Box([chosen, self.button], layout=_ROW)
        self._none = widgets.HTML("No run in this kernel yet.")
        self.box = widgets.VBox([self._none, self._list, self._curves, self._chart, row])
        self.refresh()

    @property
    def chart(self) -> str:
        """A picture of the ticked runs, or why they can't be drawn in one, as HTML.

        It is empty where the page draws them itself.
        """
        return str(self._chart.value)

    def refresh(self) -> None:
        """List the runs that exist now, and keep the ticks."""
        names = list(session.RUNS)
        self.ticks = {name: self.ticks.get(name) or self._tick() for name in names}
        for name, tick in self.ticks.items():
            tick.description = _line_of(session.RUNS[name])
        if list(self._list.children) != list(self.ticks.values()):
            self._list.children = list(self.ticks.values())
        if names != list(self._chosen.options):
            kept = self._chosen.value
            self._chosen.options = names
            self._chosen.value = kept if kept in names else (names[-1] if names else None)
        self._none.layout.display = "none" if names else ""
        if any(tick.value for tick in self.ticks.values()):
            self.draw()

    def draw(self) -> None:
        """Draw the curves of the ticked runs."""
        ticked: Mapping[str, Run] = {
            name: session.RUNS[name]
            for name, tick in self.ticks.items()
            if tick.value and name in session.RUNS
        }
        try:
            self._draw(ticked)
        except FusionError as error:  # they are measured in different metrics
            self._chart.value, self._drawn = messages.of_error(error), ()
            self._curves.layout.display = "none"

    def _draw(self, ticked: Mapping[str, Run]) -> None:
        """Draw runs in the page, or as a picture where it has never drawn a chart."""
        is_drawn_there = bool(ticked) and RunChart.was_answered
        self._curves.layout.display = "" if is_drawn_there else "none"
        if not is_drawn_there:
            self._chart.value = charts.image_tag(session.compare(ticked)) if ticked else ""
            return
        histories, metrics = session.comparable(ticked)
        state = tuple((name, len(history)) for name, history in histories.items())
        self._chart.value = str(escape(session.losses_note(ticked)))
        if state != self._drawn:  # or what the reader has chosen there is lost
            self._drawn = state
            counters = [steps_of(run) for run in ticked.values()]
            steps = dict(zip(histories, counters, strict=True))
            self._curves.compare(histories, metrics, steps)

    def _tick(self) -> widgets.Checkbox:
        tick = widgets.Checkbox(False, indent=False, layout={"width": "auto"})
        tick.observe(lambda _: self.draw(), "value")
        return tick

    def _chosen_run(self) -> Run:
        if self._chosen.value not in session.RUNS:
            raise RunError("there is no run in this kernel yet", "Start makes one")
        return session.RUNS[self._chosen.value]


class ExportTab:
    """Files of the fused model, and text that repeats the run."""

    def __init__(self, button: ButtonMaker, export: Callable[[], object]) -> None:
        wide: dict[str, Any] = {"style": {"description_width": "7.5em"}}
        self._folder = widgets.Text("fused", description="folder", **wide)
        self._format = widgets.Dropdown(description="format", **wide)
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
        controls = [
            hinted("a new folder for the files; empty: fused", self._folder),
            hinted("how the weights are written", self._format),
            hinted("the weights of the last round, or of the best one", self._which),
            hinted("write over the files that an export left in the folder", self._overwrite),
        ]
        row = widgets.Box([*controls, self.button], layout=_ROW)
        self._repeat = RepeatTexts(wide)
        self.box = widgets.VBox([row, self._files, self._repeat.box])

    @property
    def files(self) -> str:
        """The files of the last export, as HTML."""
        return str(self._files.value)

    def options(self) -> dict[str, Any]:
        """Return the arguments for `Run.export`."""
        return {
            "path": self._folder.value.strip() or "fused",
            "format": self._format.value or "",
            "which": self._which.value,
            "overwrite": self._overwrite.value,
        }

    def show(self, run: Run) -> None:
        """Offer the formats of a run, and the text that repeats it as it is now."""
        if list(self._format.options) != run.formats:
            self._format.options = run.formats
            self._format.value = run.formats[0]
        specs = run.outcome.specs
        self._repeat.show(specs.repeatable(), specs.line_options)

    def list_files(self, files: Sequence[Path]) -> None:
        """Show the files that were written."""
        self._files.value = messages.listing("written:", [str(path) for path in files])


class RepeatTexts:
    """A run, or an experiment, as texts that repeat it, each to be copied."""

    def __init__(
        self,
        layout: Mapping[str, Any],
        kinds: Sequence[str] = ("as a cell", "as Python", "as YAML"),
        thing: str = "run",
    ) -> None:
        self._texts = [
            widgets.Textarea(description=kind, layout={"flex": "1 1 auto"}, **layout)
            for kind in kinds
        ]
        hint = widgets.HTML(
            f"Copy one of these: it repeats this {thing} exactly, where the same variables exist."
        )
        rows = []
        for kind, text in zip(kinds, self._texts, strict=True):
            row = widgets.HBox([text, widgets.HTML(render(_COPY, kind=kind))])
            row.add_class("fusion-nb-copy")
            rows.append(row)
        self.box = widgets.VBox([hint, *rows], layout={"display": "none"})

    def show(self, spec: RunSpec, line_options: Mapping[str, str]) -> None:
        """Show the three texts of a spec. line_options: as in `RunSpec.to_cell`."""
        options = dict(line_options)
        self.show_texts([spec.to_cell(**options), spec.to_python(**options), spec.to_yaml()])

    def show_texts(self, texts: Sequence[str]) -> None:
        """Show one text of each kind."""
        for box, text in zip(self._texts, texts, strict=True):
            if box.value != text:  # somebody may be about to copy it
                box.value = text
                lines = (math.ceil((len(line) or 1) / _LINE) for line in text.splitlines())
                box.rows = min(max(2, sum(lines)), _MAX_LINES)
        self.box.layout.display = ""


def _change_control(name: str) -> Control:
    help = str(RunSpec.model_fields[name].description)
    if name == "fusion":
        names = partial(registry.names, "fusions")
        return Choice("fusion", help, names, kind="fusions", blank="as it is")
    return Entry(label(name), help, str, "")


def _line_of(run: Run) -> str:
    """Return a run in one short line."""
    metric, last = run.chart_metrics[1], run.records.last()
    reached = f", {metric} {number(last[metric])}" if metric in last else ""
    fusion = run.result().chosen["fusion"]
    return f"{run.name}: {run.status}, {len(run.records)} rounds of {fusion}{reached}"
