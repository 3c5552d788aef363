"""An experiment while it trains, as widgets: how far it is, its curves, its leaderboard."""

from __future__ import annotations

import threading
from collections.abc import Callable

import ipywidgets as widgets

from fusion_nb.notebook.chart import LiveChart, close_widgets
from fusion_nb.notebook.live import Throttle
from fusion_nb.reporting.formatting import caption_html, html_table
from fusion_nb.reporting.templates import render, visible
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.handle import ENDED

#: Rows of the leaderboard beside a chart; runs under way that are named.
_MAX_ROWS, _MAX_NAMED = 12, 3
_STATUS = (
    '<div role="status" aria-live="polite">{{ caption }}'
    "{% if doing %}<div>{{ doing }}</div>{% endif %}</div>"
    "{% if failed %}<details><summary>{{ failed | length }} failed</summary>"
    '<ul class="tex2jax_ignore">{% for line in failed %}<li>{{ line }}</li>{% endfor %}</ul>'
    "</details>{% endif %}"
)
#: The least seconds between two texts, with the points that belong to them, and two leaderboards.
_PAUSES = {"text": 0.3, "board": 1.0}


class ExperimentProgress:
    """Shows one experiment in `box`. Drawing takes a small share of the time of its runs.

    throttle: makes what decides how often something is shown, as `Throttle` does
    """

    def __init__(self, throttle: Callable[..., Throttle] = Throttle) -> None:
        self.made: Experiment | None = None
        self._throttle, self._lock = throttle, threading.Lock()
        self._throttles: dict[str, Throttle] = {}
        self._shown_status = ""
        self._status, self._board, self.live_chart = widgets.HTML(), widgets.HTML(), LiveChart()
        self.box = widgets.VBox([self._status, self.live_chart.box, self._board])

    @property
    def status(self) -> str:
        """How far it is, as HTML."""
        return str(self._status.value)

    @property
    def board(self) -> str:
        """The leaderboard, as HTML."""
        return str(self._board.value)

    def follow(self, made: Experiment) -> None:
        """Show this experiment from now on."""
        with self._lock:
            self.made = made
            self._throttles = {part: self._throttle(pause=pause) for part, pause in _PAUSES.items()}
            self.live_chart.follow_experiment(made)
            self._show_all()

    def update(self) -> None:
        """Show it as it stands, but no part that was shown a moment ago."""
        with self._lock:
            if self.made is None:
                return
            if self.made.status != self._shown_status or self.made.status in ENDED:
                self._show_all()
                return
            self._throttles["text"](self._write)
            self._throttles["board"](self._rank)

    def send_all(self) -> None:
        """Send every round: the page keeps the chart, and can ask for nothing more."""
        self.live_chart.send_all()

    def close(self) -> None:
        """Let the kernel forget its widgets."""
        self.live_chart.close()
        close_widgets(self._status, self._board, self.box)

    def _show_all(self) -> None:
        assert self.made is not None
        self._shown_status = self.made.status
        self._write()
        self._rank()

    def _write(self) -> None:
        assert self.made is not None
        made = self.made
        self.live_chart.send_new()
        self._status.value = render(
            _STATUS,
            caption=caption_html(made.headline(), made.notes),
            doing=under_way(made),
            failed=[visible(line) for line in made.failed()],
        )

    def _rank(self) -> None:
        assert self.made is not None
        self.live_chart.draw()
        has_rounds = self.made.has_rounds
        table = self.made.leaderboard().table(_MAX_ROWS) if has_rounds else []
        self._board.value = html_table(table) if table else ""


def under_way(made: Experiment) -> str:
    """Return a sentence about the runs that train now, with their rounds; "" without any."""
    running = [trial for trial in made.runs if trial.status == "running"]
    planned = made.spec.first().rounds
    named = [f"{t.name}: round {len(t.records)} of {planned}" for t in running[:_MAX_NAMED]]
    more = len(running) - len(named)
    ended = sum(trial.status in ("finished", "failed", "pruned") for trial in made.runs)
    counted = f"{ended} of {made.size} runs have ended"
    if not running:
        return counted if made.status in ("running", "paused") else ""
    return visible("; ".join([counted, *named, *([f"{more} more"] if more > 0 else [])]))
