"""What tests of the panel share: its widgets, found as a person finds them, by their words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets

from fusion_nb import Panel


def widgets(panel: Panel) -> Iterator[Any]:
    """Yield every widget of a panel, hidden ones too."""
    stack = [panel._view.shown._box]
    while stack:
        widget = stack.pop()
        yield widget
        stack += list(getattr(widget, "children", ()))[::-1]


def button(panel: Panel, text: str) -> Any:
    return next(
        w for w in widgets(panel) if isinstance(w, ipywidgets.Button) and w.description == text
    )


def labelled(panel: Panel, label: str) -> Any:
    """Return the first input with a label, in the order of the keyboard."""
    return next(
        w for w in widgets(panel) if hasattr(w, "value") and getattr(w, "description", "") == label
    )


def press(panel: Panel, text: str) -> None:
    """Click a button as a person does, who can't press one that is greyed out."""
    found = button(panel, text)
    if not found.disabled:
        found.click()


def enabled(panel: Panel) -> set[str]:
    """Return the texts of the steering buttons that can be pressed."""
    steering = panel._view.steering
    return {
        w.description
        for w in steering.box.children
        if isinstance(w, ipywidgets.Button) and not w.disabled
    }


def page(panel: Panel) -> str:
    """Return all HTML that is in sight."""
    return "\n".join(
        w.value
        for w in widgets(panel)
        if isinstance(w, ipywidgets.HTML) and w.layout.display != "none"
    )


def through(panel: Panel) -> Panel:
    """Begin the run that is configured, and wait for its end."""
    panel.start()
    panel.wait()
    return panel


def settle(panel: Panel) -> None:
    """Wait until the panel is through with what it was doing in its own thread."""
    assert panel._worker._at_rest.wait(20)


def until(holds: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
