"""The panel's tab of experiments: several seeds and settings, trained, ranked and taken over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets as widgets

from fusion_nb.errors import FusionError, OptionError, RunError, option
from fusion_nb.notebook.panel import launching, messages
from fusion_nb.notebook.panel.experiments.form import ExperimentForm, told
from fusion_nb.notebook.panel.experiments.view import ExperimentProgress
from fusion_nb.notebook.panel.form import Form
from fusion_nb.notebook.panel.tabs import ButtonMaker, RepeatTexts
from fusion_nb.notebook.panel.variables import Variables
from fusion_nb.runs.experiments import calls
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.spec import ExperimentSpec
from fusion_nb.runs.experiments.training import Workshop

_ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}
#: Does something in the panel's own thread: an activity in words, and the action.
Work = Callable[[str, Callable[[], object]], None]


@dataclass(frozen=True)
class Around:
    """The parts of a panel that the tab uses.

    work: does something in the panel's own thread
    say:  shows a sentence;  message: the place of sentences on what its buttons do
    kept: called with an experiment that has ended
    """

    work: Work
    say: Callable[[str], None]
    message: widgets.HTML
    kept: Callable[[Experiment], None]


class ExperimentTab:
    """Makes experiments of the options of a panel, and shows the latest one.

    configure: the options of each run;  variables: where names are looked up and bound
    """

    def __init__(
        self,
        button: ButtonMaker,
        configure: Form,
        variables: Variables,
        *,
        around: Around,
    ) -> None:
        self.made: Experiment | None = None
        self._configure, self._variables = configure, variables
        self._around = around
        self._size, self.progress = widgets.HTML(), ExperimentProgress()
        self.form = ExperimentForm(button)
        self.form.on_change(self._count)
        start = button("Start experiment", "train every setting under every seed", self.start)
        start.style.font_weight = "bold"
        stop = button("Stop experiment", "runs that have ended stay", self.stop)
        go_on = button(
            "Go on", "with the experiment that was stopped, or that the folder holds", self.go_on
        )
        take = button(
            "Take the best's options", "put them into the controls of Configure", self.take_best
        )
        self._repeat = RepeatTexts(
            {"style": {"description_width": "7.5em"}}, ("as a sweep", "as a file"), "experiment"
        )
        self._buttons = [start, stop, go_on, take]
        self.box = widgets.VBox(
            [
                self.form.box,
                widgets.Box(self._buttons, layout=_ROW),
                around.message,
                self._size,
                self.progress.box,
                self._repeat.box,
            ]
        )
        self.progress.box.layout.display = "none"
        self._unsubscribe: Callable[[], None] = lambda: None
        self._count()
        self.enable(is_busy=False)

    @property
    def size(self) -> str:
        """How many runs the experiment would have, or why it can't be made, as HTML."""
        return str(self._size.value)

    def spec(self) -> ExperimentSpec:
        """Return the experiment that the controls describe. Raises FusionError, and marks a field.

        An error of an option in Configure is marked there.
        """
        with self._configure.marking():
            return self.form.spec(self._configure.options())

    def start(self) -> None:
        """Begin the experiment that the controls describe, and return at once."""
        launching.check_alone()
        self._around.work("preparing an experiment", self._begin)

    def stop(self) -> None:
        """Stop between two batches; runs that have ended stay."""
        self._current().stop(wait=False)

    def go_on(self) -> None:
        """Train what is left of the experiment that was stopped, or that the folder holds."""
        launching.check_alone()
        self._around.work("going on with an experiment", self._continue)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the experiment has ended. An interrupt stops it."""
        self._current().wait(timeout)

    def take_best(self) -> None:
        """Put the options of the best run into the controls of Configure."""
        made = self._current()
        best = made.best
        self._configure.load(
            best.point.spec.model_dump(exclude_defaults=True, exclude={"code", "checkpoint"})
        )
        self._around.say(f"the options of {best.name} are in the controls of Configure")

    def enable(self, *, is_busy: bool) -> None:
        """Let the buttons be pressed that have a meaning now."""
        status = "" if self.made is None else self.made.status
        is_under_way = status in ("running", "paused")
        start, stop, go_on, take = self._buttons
        start.disabled = go_on.disabled = is_under_way or is_busy
        stop.disabled = not is_under_way
        has_best = self.made is not None and any(t.status == "finished" for t in self.made.runs)
        take.disabled = not has_best

    def _current(self) -> Experiment:
        if self.made is None:
            raise RunError("the panel has no experiment yet", "Start experiment begins one")
        return self.made

    def _begin(self) -> None:
        self._make(self.spec(), self.form.fields["name"].text)

    def _continue(self) -> None:
        folder = self.form.fields["checkpoint"].text
        if self.made is not None and self.made.status == "stopped":
            self.made.start()
            return
        if not folder or not ExperimentFolder.is_one(folder):
            raise OptionError(
                "there is no experiment to go on with", "name the folder of one that was saved"
            )
        about = ExperimentFolder(folder).about()
        self._make(ExperimentSpec.of({**about["spec"], "checkpoint": folder}), str(about["name"]))

    def _make(self, spec: ExperimentSpec, wanted: str) -> None:
        """Make an experiment and start it; in the panel's own thread."""
        self._around.say("preparing: reading the data, and trying the model on a few rows")
        names = self._variables.snapshot()
        with self._configure.marking(), self.form.marking():
            name = self._free_name(wanted)
            made = Experiment(spec, names, name=name, workshop=Workshop(names))
            self._follow(made)
            made.start()
        calls.remember(made)
        self._variables.namespace[name] = made
        self._around.say(
            f"bound to the variable {name}: {name}.best, {name}.compare(), {name}.report()"
        )

    def _free_name(self, wanted: str) -> str:
        name = calls.free_name(wanted, self._variables.namespace)
        present = self._variables.namespace.get(name)
        if not name.isidentifier() or not (present is None or isinstance(present, Experiment)):
            why = f"holds {type(present).__name__}" if name.isidentifier() else "is no name"
            raise OptionError(f"{option('name', name)} {why}", "choose another name")
        return name

    def _follow(self, made: Experiment) -> None:
        self._unsubscribe()
        self.made = made
        self.progress.follow(made)
        self.progress.box.layout.display = ""
        self._repeat.show_texts([made.spec.to_text(), made.spec.to_yaml()])
        self._unsubscribe = made.subscribe(lambda _: self._update(made))
        self.enable(is_busy=False)

    def _update(self, made: Experiment) -> None:
        if made is self.made:
            self.progress.update()
            self.enable(is_busy=False)
            if made.status in ("finished", "stopped", "failed"):
                self._around.kept(made)

    def _count(self) -> None:
        """Say how many runs there would be, and mark a field whose text is not allowed."""
        try:
            sentence = told(self.form.spec(self._configure.options()))
        except FusionError as error:
            sentence = "" if self.form.field_of(error) else messages.sentence_of(error)
        self._size.value = messages.news(sentence)
