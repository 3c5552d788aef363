"""The buttons of a run, and which of them mean something now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from fusion_nb.notebook.panel.tabs import Maker
from fusion_nb.runs.session import ENDED


class Steering:
    """Start, and what else a panel has methods for: Pause, Resume, Step one round, Stop and More
    rounds.
    """

    def __init__(self, button: Maker, panel: Any, start: Callable[[], Any]) -> None:
        self.rounds = widgets.BoundedIntText(
            5, min=1, max=10**6, description="rounds to add", style={"description_width": "initial"}
        )
        self.rounds.layout.width = "11em"
        self.start = button("Start", "train the run that is configured", start)
        self.start.style.font_weight = "bold"
        self.pause = button("Pause", "hold between two batches", panel.pause)
        self.resume = button("Resume", "go on after a pause", panel.resume)
        self.step = button("Step one round", "train one round, and hold again", panel.step)
        self.stop = button("Stop", "stop, keeping the last whole round", panel.stop)
        self.more = button(
            "More rounds", "go on after the last round", lambda: panel.more(self.rounds.value)
        )
        all_of_them = [
            self.start,
            self.pause,
            self.resume,
            self.step,
            self.stop,
            self.rounds,
            self.more,
        ]
        self.box = widgets.Box(all_of_them, layout={"display": "flex", "flex_flow": "row wrap"})

    def enable(self, status: str, *, is_busy: bool) -> None:
        """Let those be pressed that mean something in a status of the panel."""
        goes_on = status in ("paused", *ENDED) and not is_busy
        allowed = {
            self.start: status in ("idle", *ENDED) and not is_busy,
            self.pause: status == "running",
            self.resume: status == "paused",
            self.step: goes_on,
            self.stop: status in ("running", "paused", "preparing"),
            self.more: (goes_on or status == "running") and not is_busy,
        }
        for button, is_allowed in allowed.items():
            button.disabled = not is_allowed
