"""The part of a panel that offers a run on disk that was cut short: a line and two buttons."""

from __future__ import annotations

import ipywidgets as widgets

from fusion_nb.errors import RunError
from fusion_nb.notebook.panel import messages
from fusion_nb.notebook.panel.hints import hinted
from fusion_nb.notebook.panel.saved_runs import OfferedRun, SavedRuns, is_in_use
from fusion_nb.notebook.panel.tabs import ButtonMaker
from fusion_nb.runs.session import ENDED

_ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "center"}
_FRAME = {
    "border_left": "3px solid #0072B2",
    "padding": "0 0 0 .5em",
    "margin": "0 0 .5em 0",
    "display": "none",
}


class SavedBox:
    """A line on the run that was cut short, and buttons that resume or discard it.

    Several such runs stand in a list, the newest first. Discarding asks once. Where a run was
    refused since its rows are others, a checkbox lets it go on all the same.

    delay: seconds between a click on Resume and the reading of list and checkbox
    """

    def __init__(self, button: ButtonMaker, saved: SavedRuns, delay: float) -> None:
        self.saved = saved
        self._found: list[OfferedRun] = []
        self._delay = delay
        self._can_begin = True
        self._list = widgets.Dropdown(
            description="saved runs",
            style={"description_width": "initial"},
            layout={"width": "26em", "max_width": "100%"},
        )
        self._list.observe(lambda _: self._show(), "index")
        self._line = widgets.HTML(layout={"margin": "2px 1em 2px 2px"})
        self._other_rows = widgets.Checkbox(
            False,
            description="allow other rows",
            indent=False,
            layout={"width": "auto"},
        )
        self._resume = button(
            "Resume saved run", "train it from its last whole round to its planned end", self.resume
        )
        self._discard = button(
            "Discard saved run", "remove its checkpoints from the disk", lambda: self._ask(True)
        )
        self._sure = button(
            "Discard for good", "this can't be undone", lambda: saved.discard(self.chosen)
        )
        self._keep = button("Keep it", "leave its checkpoints on disk", lambda: self._ask(False))
        buttons = [self._resume, self._discard, self._sure, self._keep]
        other_rows = hinted(
            "go on though the rows are not those that the run was begun with", self._other_rows
        )
        row = widgets.Box([self._line, other_rows, *buttons], layout=_ROW)
        runs = hinted("the runs on disk that were cut short", self._list)
        self.box = widgets.VBox([runs, row], layout=_FRAME)
        saved.on_change(self.look)
        self._ask(False)

    @property
    def sentence(self) -> str:
        """The sentence on the run that is chosen, as HTML; empty where none is offered."""
        return str(self._line.value)

    @property
    def chosen(self) -> OfferedRun:
        """The run that is chosen. Raises RunError where none is offered."""
        if not self._found:
            raise RunError("there is no saved run that was cut short", "Start begins a new run")
        return self._found[self._list.index or 0]

    def look(self) -> None:
        """Look on disk for runs that were cut short, and offer them."""
        self._offer(self.saved.find())

    def enable(self, status: str, *, is_busy: bool) -> None:
        """Let a run be resumed where the status of the panel allows it, and drop those in use."""
        self._can_begin = status in ("idle", *ENDED) and not is_busy
        self._offer([run for run in self._found if not is_in_use(run.path)])

    def resume(self) -> None:
        """Take up the chosen run. Raises RunError while another run is running."""
        self.saved.resume_chosen(lambda: (self.chosen, bool(self._other_rows.value)), self._delay)

    def _offer(self, found: list[OfferedRun]) -> None:
        """Offer these runs, and keep the one that is chosen."""
        chosen = self.chosen.path if self._found else None
        before = [run.path for run in self._found]
        self._found = found
        labels = [run.short for run in found]
        paths = [run.path for run in found]
        if labels != list(self._list.options) or paths != before:
            self._list.options = labels
            self._list.index = paths.index(chosen) if chosen in paths else (0 if paths else None)
        self._list.layout.display = "" if len(found) > 1 else "none"
        self.box.layout.display = "" if found else "none"
        self._show()

    def _show(self) -> None:
        """Show the chosen run."""
        run = self.chosen if self._found else None
        is_refused = run is not None and run.path in self.saved.refused
        self._other_rows.layout.display = "" if is_refused else "none"
        if not is_refused:
            self._other_rows.value = False
        self._resume.disabled = run is None or not self._can_begin
        self._ask(False)

    def _ask(self, asks: bool) -> None:
        """Show the buttons that ask whether to discard, or the others."""
        line = self.chosen.line if self._found else ""
        line += ". Remove its checkpoints from the disk?" if asks else ""
        self._line.value = messages.news(line) if line else ""
        for button in (self._sure, self._keep):
            button.layout.display = "" if asks else "none"
        for button in (self._resume, self._discard):
            button.layout.display = "none" if asks else ""
