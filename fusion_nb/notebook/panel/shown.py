"""A panel in a notebook: live while the kernel is there, and something to read when it is gone."""

from __future__ import annotations

import html
import uuid
from typing import Any

import ipywidgets as widgets

from fusion_nb.notebook.live import draws_widgets
from fusion_nb.result import Result

_SENTENCE = "A panel of fusion_nb, in which no run has ended. Run the cell to use it."


class Shown:
    """Displays a panel's widgets, and below them what stays in the saved notebook.

    A widget can't be read without a kernel, so a second output holds the result. As long as the widgets live, a style
    of theirs hides it, and nobody sees the same twice.
    """

    def __init__(self, box: widgets.VBox) -> None:
        self._mark = f"fusion-nb-{uuid.uuid4().hex[:12]}"
        hiding = widgets.HTML(f"<style>.{self._mark}{{display:none}}</style>", layout={"display": "none"})
        self._box = widgets.VBox([*box.children, hiding], layout=box.layout)
        self._bundle: dict[str, Any] = {"text/html": self._hidden(html.escape(_SENTENCE)), "text/plain": _SENTENCE}
        self._handles: list[Any] = []

    def display(self) -> None:
        """Show the panel in the output of the cell that is running."""
        from IPython.display import display

        if draws_widgets():
            view = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
            display({"application/vnd.jupyter.widget-view+json": view, "text/plain": "the panel is live"}, raw=True)
        self._handles.append(display(self._bundle, raw=True, display_id=True))

    def keep(self, result: Result) -> None:
        """Let the saved notebook hold this result: chart, table, and the options that repeat it."""
        self._bundle = result.mimebundle()
        repeat = f'<pre style="white-space:pre-wrap">{html.escape(result.cell)}</pre>'
        self._bundle["text/html"] = self._hidden(self._bundle["text/html"] + repeat)
        for handle in self._handles:
            handle.update(self._bundle, raw=True)

    def _hidden(self, page: str) -> str:
        return f'<div class="{self._mark}">{page}</div>'
