"""Helpers of the panel's tests: they find widgets as a person does, by their words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ipywidgets

from fusion_nb import Panel

#: The buttons of a run.
RUN_BUTTONS = {"Start", "Pause", "Resume", "Step one round", "Stop", "More rounds"}
#: The buttons of a run that can be pressed once it has ended.
AFTER_THE_END = {"Start", "Step one round", "More rounds"}


def labelled(panel: Panel, label: str) -> Any:
    """Return the first input with a label, in the order of the keyboard."""
    return next(
        widget
        for widget in panel.screen.widgets()
        if hasattr(widget, "value") and getattr(widget, "description", "") == label
    )


def press(panel: Panel, text: str) -> None:
    """Click a button as a person does, who can't press one that is greyed out."""
    button = panel.screen.buttons[text]
    if not button.disabled:
        button.click()


def enabled(panel: Panel) -> set[str]:
    """Return the texts of the run's buttons that can be pressed."""
    return {text for text in RUN_BUTTONS if not panel.screen.buttons[text].disabled}


def page(panel: Panel) -> str:
    """Return all HTML that is not hidden."""
    return "\n".join(
        widget.value for widget in panel.screen.visible() if isinstance(widget, ipywidgets.HTML)
    )


def offered(panel: Panel, label: str) -> list[str]:
    """Return the values of a list."""
    return [value for _, value in labelled(panel, label).options]


def marked(panel: Panel) -> list[str]:
    """Return the options under which an error stands."""
    return [name for name, control in panel.screen.controls.items() if control.is_marked]


def run_to_the_end(panel: Panel) -> Panel:
    """Begin the run that is configured, and wait for its end."""
    panel.start()
    panel.wait()
    return panel


def settle(panel: Panel) -> None:
    """Wait until the panel's own thread has nothing to do."""
    until(lambda: not panel.screen.buttons["Preview"].disabled)


def until(holds: Callable[[], Any], seconds: float = 240) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
