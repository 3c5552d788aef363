"""The buttons of a run, and the statuses in which each can be pressed."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from fusion_nb.notebook.panel.actions import PanelActions
from fusion_nb.notebook.panel.hints import hinted
from fusion_nb.notebook.panel.tabs import ButtonMaker
from fusion_nb.runs.session import ENDED

#: The tooltip of the number of rounds.
_ADDED = "how many rounds the button More rounds trains"


class RunButtons:
    """Start, Pause, Resume, Step one round, Stop and More rounds."""

    def __init__(
        self, button: ButtonMaker, actions: PanelActions, start: Callable[[], object]
    ) -> None:
        self._rounds = widgets.BoundedIntText(
            5,
            min=1,
            max=10**6,
            description="rounds to add",
            tooltip=_ADDED,  # or a browser shows "null"
            style={"description_width": "initial"},
        )
        self._rounds.layout.width = "11em"
        self._start = button("Start", "train the run that is configured", start)
        self._start.style.font_weight = "bold"
        self._pause = button("Pause", "pause between two batches", actions.pause)
        self._resume = button("Resume", "continue after a pause", actions.resume)
        self._step = button("Step one round", "train one round, and pause again", actions.step)
        self._stop = button("Stop", "stop and keep the last whole round", actions.stop)
        self._more = button(
            "More rounds",
            "train more rounds after the last one",
            lambda: actions.more(self._rounds.value),
        )
        before = [self._start, self._pause, self._resume, self._step, self._stop]
        self.box = widgets.Box(
            [*before, hinted(_ADDED, self._rounds), self._more],
            layout={"display": "flex", "flex_flow": "row wrap"},
        )

    def enable(self, status: str, *, is_busy: bool) -> None:
        """Let the buttons be pressed that have a meaning in a status of the panel."""
        can_continue = status in ("paused", *ENDED) and not is_busy
        allowed = {
            self._start: status in ("idle", *ENDED) and not is_busy,
            self._pause: status == "running",
            self._resume: status == "paused",
            self._step: can_continue,
            self._stop: status in ("running", "paused", "preparing"),
            self._more: (can_continue or status == "running") and not is_busy,
        }
        for button, is_allowed in allowed.items():
            button.disabled = not is_allowed
