"""The contents of a panel for programs: tests, and notebooks that drive a panel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import ipywidgets as widgets

from fusion_nb.notebook.panel.controls import Control
from fusion_nb.notebook.panel.view import View


class Screen:
    """The contents of a panel, read-only: texts as HTML, and its controls and buttons by name."""

    def __init__(self, view: View) -> None:
        self._view = view

    @property
    def controls(self) -> Mapping[str, Control]:
        """The controls of the configuration by option."""
        return MappingProxyType(self._view.form.controls)

    @property
    def change_controls(self) -> Mapping[str, Control]:
        """The controls of the options that can change during a run, by option."""
        return MappingProxyType(self._view.change_tab.controls)

    @property
    def run_ticks(self) -> Mapping[str, widgets.Checkbox]:
        """The checkboxes of the runs that can be compared, by the run's name."""
        return MappingProxyType(self._view.compare_tab.ticks)

    @property
    def buttons(self) -> Mapping[str, widgets.Button]:
        """The buttons by their text."""
        buttons = (*self._view.buttons, *self._view.form.buttons)
        return MappingProxyType({button.description: button for button in buttons})

    @property
    def message(self) -> str:
        """The message below the buttons: the last news or error."""
        return self._view.message

    @property
    def offer(self) -> str:
        """The sentence on data and fusions that go together with the chosen model."""
        return self._view.form.offer

    @property
    def saved_run(self) -> str:
        """The sentence on a run that was cut short, or an empty string."""
        return self._view.saved_box.sentence

    @property
    def preview(self) -> str:
        """The result of the last preview."""
        return self._view.preview_tab.result

    @property
    def comparison(self) -> str:
        """The chart of the ticked runs."""
        return self._view.compare_tab.chart

    @property
    def files(self) -> str:
        """The files of the last export."""
        return self._view.export_tab.files

    @property
    def status(self) -> str:
        """The status line of the run."""
        return self._view.run_view.status

    @property
    def chart(self) -> str:
        """The curves of the run."""
        return self._view.run_view.chart

    @property
    def table(self) -> str:
        """The parties of the run, with failures below."""
        return self._view.run_view.table

    def visible(self) -> Iterator[widgets.Widget]:
        """Yield every widget that is not hidden, in the order of the keyboard.

        The contents of all tabs are included.
        """
        return _walk(self._view.output.box, hidden=False)

    def widgets(self) -> Iterator[widgets.Widget]:
        """Yield every widget, hidden ones too."""
        return _walk(self._view.output.box, hidden=True)


def _walk(widget: widgets.Widget, *, hidden: bool) -> Iterator[widgets.Widget]:
    if not hidden and widget.layout.display == "none":
        return
    yield widget
    if isinstance(widget, widgets.Box):
        for child in widget.children:
            yield from _walk(child, hidden=hidden)
