"""A panel in a notebook: live while the kernel is there, and something to read when it is gone."""

from __future__ import annotations

import html
import uuid
from typing import Any

import ipywidgets as widgets

from fusion_nb.notebook.live import draws_widgets
from fusion_nb.reporting.result import Result

_SENTENCE = "A panel of fusion_nb, in which no run has ended. Run the cell to use it."


class Shown:
    """Displays a panel's widgets, and below them what stays in the saved notebook.

    A widget can't be read without a kernel, so a second output holds the result. As long as the
    widgets live, a style of theirs hides it, and nobody sees the same twice.
    """

    def __init__(self, box: widgets.VBox) -> None:
        self._mark = f"fusion-nb-{uuid.uuid4().hex[:12]}"
        beside = f"<style>.{self._mark}{{display:none}}</style>{_keeping_keys(f'{self._mark}-box')}"
        self._box = widgets.VBox(
            [*box.children, widgets.HTML(beside, layout={"display": "none"})], layout=box.layout
        )
        self._box.add_class(f"{self._mark}-box")
        self._bundle: dict[str, Any] = {
            "text/html": self._hidden(html.escape(_SENTENCE)),
            "text/plain": _SENTENCE,
        }
        self._handles: list[Any] = []

    def display(self) -> None:
        """Show the panel in the output of the cell that is running."""
        from IPython.display import display

        if draws_widgets():
            view = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
            display(
                {"application/vnd.jupyter.widget-view+json": view, "text/plain": "fusion_nb panel"},
                raw=True,
            )
        self._handles.append(display(self._bundle, raw=True, display_id=True))

    def keep(self, result: Result) -> None:
        """Let the saved notebook hold this result: chart, table, and the options that repeat it."""
        self._bundle = result.mimebundle()
        repeat = f'<pre style="white-space:pre-wrap">{html.escape(result.cell)}</pre>'
        self._bundle["text/html"] = self._hidden(self._bundle["text/html"] + repeat)
        self.renew()

    def renew(self) -> None:
        """Send once more what stays."""
        for handle in self._handles:
            handle.update(self._bundle, raw=True)

    def _hidden(self, page: str) -> str:
        return f'<div class="{self._mark}">{page}</div>'


def _keeping_keys(box: str) -> str:
    """Return HTML that keeps what is typed in a box of that class from being read as JupyterLab's
    shortcuts.

    JupyterLab reads keys as commands for cells wherever the focus is not in a line of text: in a
    list, an arrow would select another cell, and "dd" delete this one. An attribute of its shortcut
    system turns that off for the element that has the focus; widgets can't set attributes, but HTML
    of theirs can. Keys with Ctrl, such as for saving, stay.
    """
    name = "data-lm-suppress-shortcuts"
    keep = (
        "window.addEventListener('keydown',e=>{"
        f"if(e.target.closest&&e.target.closest('.{box}'))"
        f"e.target.toggleAttribute('{name}',!(e.ctrlKey||e.metaKey||e.altKey))"
        "},true)"  # on its way down, before JupyterLab has it
    )
    return f'<img alt="" src="data:," onerror="{keep}">'
