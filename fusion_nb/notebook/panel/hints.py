"""Tooltips of the panel's controls."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import traitlets


class Hinted(widgets.VBox):
    """Widgets below each other, with one tooltip for all of them.

    A browser shows the tooltip of a line, a list or a checkbox only where that has no label, so
    that theirs is that of the box around them. A box shows it where its state has an empty label.
    """

    description = traitlets.Unicode("").tag(sync=True)


def hinted(help: str, *children: Any, **layout: str) -> Hinted:
    """Return widgets in a box that shows `help` while the pointer is over them."""
    return Hinted(children, tooltip=help, layout=layout)
