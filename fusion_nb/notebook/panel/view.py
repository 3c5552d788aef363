"""What is seen of a panel: its tabs, its buttons, what it says, and the run that it shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import ipywidgets as widgets

from fusion_nb.notebook.panel import messages
from fusion_nb.notebook.panel.form import Form
from fusion_nb.notebook.panel.output import Shown
from fusion_nb.notebook.panel.run_buttons import Steering
from fusion_nb.notebook.panel.run_view import Watch
from fusion_nb.notebook.panel.subshells import answer_beside
from fusion_nb.notebook.panel.tabs import Changing, Comparing, Looking, Taking
from fusion_nb.runs.run import Run
from fusion_nb.runs.session import ENDED

if TYPE_CHECKING:
    from fusion_nb.notebook.panel.panel import Panel


T = TypeVar("T")
#: Seconds after a click in which a front end may still send what was typed before it: it sends
#: clicks at once, but a value only when the kernel is through with the one before.
_LATE = 0.2


def late(action: Callable[[], T]) -> Callable[[], T]:
    """Return an action that waits for what was typed before it was asked for."""

    def wait_and_act() -> T:
        time.sleep(_LATE)
        return action()

    return wait_and_act


class View:
    """The widgets of a panel, which they call when they are pressed."""

    def __init__(self, panel: Panel, namespace: Mapping[str, Any]) -> None:
        self._buttons: list[widgets.Button] = []
        self._said = widgets.HTML(layout={"min_height": "2em"})
        self.form = Form(namespace)
        self.watch = Watch()
        self.looking = Looking(self._button, lambda: panel.work("looking", late(panel.preview)))
        change = late(lambda: self.changing.apply(panel.change))
        self.changing: Changing = Changing(self._button, lambda: panel.work("changing", change))
        self.comparing = Comparing(self._button, panel.load)
        export = late(lambda: panel.export(**self.taking.options()))
        self.taking: Taking = Taking(self._button, lambda: panel.work("writing files", export))
        self.steering = Steering(self._button, panel, lambda: panel.begin(late(self.form.spec)))
        self.tabs = widgets.Tab(
            [
                tab.box
                for tab in (self.form, self.looking, self.changing, self.comparing, self.taking)
            ],
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
        self.changing.button.disabled = bool(doing) or run is None
        self.taking.button.disabled = bool(doing) or run is None or status == "running"
        self.comparing.refresh()
        if run is not None:
            self.taking.show(run)
            if status in ENDED:
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
            except (
                Exception
            ) as error:  # whatever it is, the panel stays usable and the kernel's log stays empty
                self.say(messages.of_error(error))

        made = widgets.Button(
            description=text, tooltip=tooltip, layout={"width": "auto", "align_self": "flex-start"}
        )
        made.on_click(press)
        self._buttons.append(made)
        return made
