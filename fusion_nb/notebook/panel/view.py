"""The widgets of a panel: tabs, buttons, a message, and the run that it shows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import ipywidgets as widgets

from fusion_nb.notebook.panel.actions import PanelActions
from fusion_nb.notebook.panel.experiments.tab import Around, ExperimentTab
from fusion_nb.notebook.panel.form import Form
from fusion_nb.notebook.panel.messages import LastMessage
from fusion_nb.notebook.panel.output import PanelOutput
from fusion_nb.notebook.panel.recipes import NewRun
from fusion_nb.notebook.panel.run_buttons import RunButtons
from fusion_nb.notebook.panel.run_controller import RunController
from fusion_nb.notebook.panel.run_view import RunView
from fusion_nb.notebook.panel.saved_box import SavedBox
from fusion_nb.notebook.panel.saved_runs import SavedRuns
from fusion_nb.notebook.panel.tabs import ChangeTab, CompareTab, ExportTab, PreviewTab
from fusion_nb.notebook.panel.variables import Variables
from fusion_nb.notebook.subshells import answer_beside
from fusion_nb.runs.run import Run
from fusion_nb.runs.session import ENDED

#: Seconds between a click and the reading of the controls. JupyterLab sends clicks at once, but a
#: typed value only when the kernel has answered the one before.
_DELAY = 0.2
#: The tabs whose buttons have messages.
_WITH_MESSAGES = ("Preview", "Experiment", "Change", "Compare", "Export")


class View:
    """The widgets of a panel.

    panel: the actions of its buttons;  runs: begins runs and longer actions, in the panel's thread
    variables: where models and data are looked for
    """

    def __init__(self, panel: PanelActions, runs: RunController, variables: Variables) -> None:
        self.buttons: list[widgets.Button] = []
        self._message = LastMessage("Choose below, and press Start.")
        self._followed: Run | None = None
        self.form = Form(variables.names)
        self.saved_box = SavedBox(self._button, SavedRuns(runs, self.form), _DELAY)
        self.form.on_refresh(self.saved_box.look)
        self.form.controls["checkpoint"].observe(self.saved_box.look)
        self.run_view = RunView()
        places = {name: widgets.HTML() for name in _WITH_MESSAGES}
        button = {name: partial(self._button, place=place) for name, place in places.items()}
        self.preview_tab = PreviewTab(
            button["Preview"], lambda: runs.work("looking", panel.preview, _DELAY)
        )
        self.change_tab = ChangeTab(
            button["Change"],
            lambda: runs.work("changing", lambda: self.change_tab.apply(panel.change), _DELAY),
        )
        self.compare_tab = CompareTab(button["Compare"], panel.load)
        self.export_tab = ExportTab(
            button["Export"],
            lambda: runs.work(
                "writing files", lambda: panel.export(**self.export_tab.options()), _DELAY
            ),
        )
        self.run_buttons = RunButtons(
            self._button, panel, lambda: runs.begin(lambda: NewRun(self.form.spec()), _DELAY)
        )
        self.experiment_tab = ExperimentTab(
            button["Experiment"],
            self.form,
            variables,
            around=Around(
                work=lambda activity, action: runs.work(activity, action, _DELAY),
                say=self.say,
                message=places["Experiment"],
                kept=lambda made: self.output.keep_experiment(made),
            ),
        )
        tabs = {
            "Configure": self.form.box,
            "Preview": widgets.VBox([places["Preview"], self.preview_tab.box]),
            "Experiment": self.experiment_tab.box,
            "Change": widgets.VBox([places["Change"], self.change_tab.box]),
            "Compare": widgets.VBox([self.compare_tab.box, places["Compare"]]),
            "Export": widgets.VBox([places["Export"], self.export_tab.box]),
        }
        stack = widgets.Tab(list(tabs.values()), titles=list(tabs))
        stack.observe(lambda _: self.compare_tab.refresh(), "selected_index")
        # The effect of a press of Start is in sight on a small screen: it stands above the tabs.
        rows = [
            self.saved_box.box,
            self.run_buttons.box,
            self._message.above,
            self.run_view.box,
            stack,
            self.run_view.table_box,
        ]
        self.output = PanelOutput(widgets.VBox(rows))

    @property
    def message(self) -> str:
        """The last message, as HTML: below the buttons, or in a tab."""
        return self._message.text

    def say(self, sentence: str) -> None:
        """Show a sentence in place of the last message."""
        self._message.say(sentence)

    def say_above(self, sentence: str) -> None:
        """Show a sentence above the tabs, in place of the last message."""
        self._message.move(None)
        self._message.say(sentence)

    def say_error(self, error: BaseException) -> None:
        """Show an error in place of the last message."""
        self._message.say_error(error)

    def marking(self) -> AbstractContextManager[None]:
        """Mark the option that an error belongs to."""
        return self.form.marking()

    def refresh(self, status: str, activity: str, run: Run | None) -> None:
        """Show a status of the panel, its activity, if it has one, and its run."""
        is_busy = bool(activity)
        self.run_buttons.enable(status, is_busy=is_busy)
        self.saved_box.enable(status, is_busy=is_busy)
        self.preview_tab.button.disabled = is_busy
        self.change_tab.button.disabled = is_busy or run is None
        self.export_tab.button.disabled = is_busy or run is None or status == "running"
        self.experiment_tab.enable(is_busy=is_busy)
        self.compare_tab.refresh()
        if run is None:
            return
        if run is not self._followed:
            self._followed = run
            self.run_view.follow(run)
        self.export_tab.show(run)
        if status in ENDED:
            self.output.keep(run)

    def display(self) -> None:
        """Show the panel in the output of the cell that is running."""
        for button in self.buttons:
            answer_beside(button)
        self.output.display()

    def _button(
        self,
        text: str,
        help: str,
        action: Callable[[], object],
        place: widgets.HTML | None = None,
    ) -> widgets.Button:
        """Return a button that shows the error of its action, if it has one.

        place: where messages on the action stand, or None: above the tabs
        """

        def press(_: widgets.Button) -> None:
            self._message.move(place)
            try:
                action()
            except Exception as error:  # the panel stays usable, and the kernel's log empty
                self.say_error(error)

        button = widgets.Button(
            description=text, tooltip=help, layout={"width": "auto", "align_self": "flex-start"}
        )
        button.on_click(press)
        self.buttons.append(button)
        return button
