"""The output of a panel: widgets while the kernel lives, and a result in the saved notebook."""

from __future__ import annotations

import uuid
from collections.abc import Hashable
from typing import Any

import ipywidgets as widgets
from IPython.display import display
from markupsafe import Markup

from fusion_nb.notebook.kernel import draws_widgets
from fusion_nb.reporting.templates import render
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.run import Run

_SENTENCE = "A panel of fusion_nb, in which no run has ended. Run the cell to use it."
_HIDDEN = '<div class="{{ mark }}">{{ page }}</div>'
_REPEAT = (
    '<div style="opacity:.8">The last result of a panel. Its controls need a kernel: run the cell '
    'to use them.</div>{{ page }}<pre style="white-space:pre-wrap">{{ cell }}</pre>'
)
#: Hides the result that is kept as long as the widgets live, and keeps typed keys from JupyterLab.
#:
#: JupyterLab reads keys as commands for cells wherever the focus is not in a line of text: in a
#: list, an arrow would select another cell, and "dd" delete this one. An attribute of its shortcut
#: system turns that off for the element that has the focus; widgets can't set attributes, but HTML
#: in them can. Keys with Ctrl, such as for saving, still reach JupyterLab. The listener captures
#: them on their way down, before JupyterLab does.
_BESIDE = """\
<style>.{{ mark }}{display:none}</style>\
<img alt="" src="data:," onerror="window.addEventListener('keydown',e=>{\
if(e.target.closest&&e.target.closest('.{{ box }}'))\
e.target.toggleAttribute('data-lm-suppress-shortcuts',!(e.ctrlKey||e.metaKey||e.altKey))},true)">"""


class PanelOutput:
    """Displays a panel's widgets, and below them the result that the saved notebook keeps.

    A widget can't be read without a kernel, so a second output holds the result. As long as the
    widgets live, a style of theirs hides it, and nobody sees it twice.
    """

    def __init__(self, box: widgets.VBox) -> None:
        self._mark = f"fusion-nb-{uuid.uuid4().hex[:12]}"
        beside = render(_BESIDE, mark=self._mark, box=f"{self._mark}-box")
        self.box = widgets.VBox(
            [*box.children, widgets.HTML(beside, layout={"display": "none"})], layout=box.layout
        )
        self.box.add_class(f"{self._mark}-box")
        self._bundle: dict[str, Any] = {
            "text/html": self._hidden(_SENTENCE),
            "text/plain": _SENTENCE,
        }
        self._kept: tuple[Hashable, ...] | None = None
        self._handles: list[Any] = []

    def display(self) -> None:
        """Show the panel in the output of the cell that is running."""
        if draws_widgets():
            view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
            bundle = {
                "application/vnd.jupyter.widget-view+json": view,
                "text/plain": "fusion_nb panel",
            }
            display(bundle, raw=True)
        self._handles.append(display(self._bundle, raw=True, display_id=True))

    def keep(self, run: Run) -> None:
        """Let the saved notebook hold a run's result: chart, table, the options that repeat it.

        It is drawn again only where the run has changed.
        """
        state = (run, run.status, len(run.records), run.planned)
        if state != self._kept:
            self._kept = state
            result = run.result()
            self._keep(result.mimebundle(), result.cell)

    def keep_experiment(self, made: Experiment) -> None:
        """Let the saved notebook hold an experiment's result, and the cell that repeats it."""
        state = (made, made.status, len(made.runs))
        if state != self._kept:
            self._kept = state
            self._keep(made._repr_mimebundle_(), made.spec.to_text())

    def _keep(self, bundle: dict[str, Any], cell: str) -> None:
        page = render(_REPEAT, page=Markup(bundle["text/html"]), cell=cell)
        self._bundle = bundle | {"text/html": self._hidden(page)}
        self.send_again()

    def send_again(self) -> None:
        """Send the kept result once more."""
        for handle in self._handles:
            handle.update(self._bundle, raw=True)

    def _hidden(self, page: str) -> str:
        return render(_HIDDEN, mark=self._mark, page=page)
