"""What is seen of a panel: its tabs, its buttons, what it says, and the run that it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from fusion_nb.notebook.panel import words
from fusion_nb.notebook.panel.comms import answer_beside
from fusion_nb.notebook.panel.form import Form
from fusion_nb.notebook.panel.shown import Shown
from fusion_nb.notebook.panel.steering import Steering
from fusion_nb.notebook.panel.tabs import Changing, Comparing, Looking, Taking
from fusion_nb.notebook.panel.watch import Watch
from fusion_nb.run import Run

if TYPE_CHECKING:
    from fusion_nb.notebook.panel.panel import Panel


class View:
    """The widgets of a panel, which they call when they are pressed."""

    def __init__(self, panel: Panel, namespace: Mapping[str, Any]) -> None:
        self._buttons: list[widgets.Button] = []
        self._said = widgets.HTML(layout={"min_height": "2em"})
        self.form = Form(namespace)
        self.watch = Watch()
        self.looking = Looking(self._button, lambda: panel.work("looking", panel.preview))
        self.changing = Changing(self._button, lambda: self.changing.apply(panel.change))
        self.comparing = Comparing(self._button, panel.load)
        self.taking = Taking(
            self._button, lambda: panel.work("writing files", lambda: panel.export(**self.taking.options()))
        )
        self.steering = Steering(self._button, panel)
        self.tabs = widgets.Tab(
            [tab.box for tab in (self.form, self.looking, self.changing, self.comparing, self.taking)],
            titles=["Configure", "Look first", "Change", "Compare", "Take away"],
        )
        self.tabs.observe(lambda _: self.comparing.refresh(), "selected_index")
        self.shown = Shown(widgets.VBox([self.tabs, self.steering.box, self._said, self.watch.box]))

    def say(self, page: str) -> None:
        """Say something below the buttons, in place of what was said before."""
        self._said.value = page

    def refresh(self, status: str, doing: str, run: Run | None) -> None:
        """Show a status of the panel, and what it is doing beside, if anything."""
        self.steering.enable(status, is_busy=bool(doing))
        self.looking.button.disabled = bool(doing)
        self.changing.button.disabled = run is None
        self.taking.button.disabled = bool(doing) or run is None or status == "running"
        self.comparing.refresh()
        if run is not None:
            self.taking.show(run)
            if status in ("finished", "stopped", "failed"):
                self.shown.keep(run.result())

    def display(self) -> None:
        """Show the panel in the output of the cell that is running."""
        for button in self._buttons:
            answer_beside(button)
        self.shown.display()

    def _button(self, text: str, tooltip: str, action: Callable[[], Any]) -> widgets.Button:
        """Return a button that says what is wrong, where that is all that comes of pressing it."""

        def press(_: widgets.Button) -> None:
            try:
                self.say("")
                action()
            except Exception as error:  # whatever it is, the panel stays usable and the kernel's log stays empty
                self.say(words.of_error(error))

        made = widgets.Button(description=text, tooltip=tooltip, layout={"width": "auto", "align_self": "flex-start"})
        made.on_click(press)
        self._buttons.append(made)
        return made
