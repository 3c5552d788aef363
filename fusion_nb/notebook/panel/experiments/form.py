"""The fields of an experiment: what varies, how it is searched, and where it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from fusion_nb.core import seeds
from fusion_nb.errors import FusionError, OptionError, option
from fusion_nb.notebook.panel import messages
from fusion_nb.notebook.panel.controls import Choice, Control, Entry
from fusion_nb.notebook.panel.labels import label
from fusion_nb.runs.experiments.search import PRUNERS
from fusion_nb.runs.experiments.spec import BANDS, ExperimentSpec
from fusion_nb.runs.experiments.varying import VARYING

_ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}
#: Options that have a line for several values from the beginning.
_FIRST = ("fusion", "lr")
#: The entry of the list for trying every combination.
_GRID = "all settings"


class VariedOption:
    """An option with several values: a list of options, and a line for the values."""

    def __init__(self, name: str, help: str) -> None:
        self.option = Choice(
            "vary",
            "the option that has several values",
            lambda: [*VARYING],
            blank="nothing",
            shown=label,
        )
        self.option.set(name)
        self.values = Entry("values", help, str, "", empty="one: that of Configure", width="32em")
        self.box = widgets.HBox([self.option.box, self.values.box], layout=_ROW)


class ExperimentForm:
    """The fields of an experiment; the options of its runs are those of the tab Configure.

    button: makes a button
    """

    def __init__(self, button: Callable[..., widgets.Button]) -> None:
        self._changed: Callable[[], None] = lambda: None
        self.fields: dict[str, Control] = {
            "seeds": Entry("seeds", "one run for each: 0-4, or 0,3,7", str, "", empty="one"),
            "hold": Entry(
                "hold",
                f"parts of a run that keep the first seed: {', '.join(seeds.PARTS)}",
                str,
                "",
                empty="nothing",
            ),
            "band": Choice(
                "band", "what is told of the spread over seeds", lambda: [*BANDS], "std"
            ),
            "workers": Entry(
                "workers",
                "processes that train runs beside each other, 0: all of them in this kernel, or a "
                "Ray cluster: ray:workers=4",
                str,
                "",
                empty="auto; 0: kernel",
            ),
            "checkpoint": Entry(
                "saved in", "the folder of the experiment, to go on later", str, "", empty="none"
            ),
            "name": Entry("name", "the variable of the experiment", str, "", empty="experiment"),
        }
        self.search: dict[str, Control] = {
            "search": Choice("search", "how settings are chosen", lambda: [_GRID, "optuna"], _GRID),
            "trials": Entry("trials", "settings that are tried", int, 20),
            "metric": Entry("metric", "what is to be best", str, "", empty="the monitored one"),
            "pruner": Choice("pruner", "ends poor trials early", lambda: [*PRUNERS], "median"),
        }
        self._rows = widgets.VBox()
        self.varied: list[VariedOption] = []
        for name in _FIRST:
            self.add(name)
        more = button("Vary another option", "a further line with several values", self.add)
        for control in (*self.fields.values(), *self.search.values()):
            control.observe(self._checked)
        boxes = [control.box for control in self.fields.values()]
        searched = [control.box for control in self.search.values()]
        self.box = widgets.VBox(
            [
                widgets.HTML(
                    messages.aside(
                        "The options of Configure are those of every run. Several values of one "
                        "option: fedavg,fedprox:mu=[0.01,0.1], or 0.01,0.1; for a search also a "
                        "range: 0.001..0.1"
                    )
                ),
                self._rows,
                more,
                widgets.Box(boxes, layout=_ROW),
                widgets.Box(searched, layout=_ROW),
            ]
        )
        self._fit()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener()` whenever a field may have changed."""
        self._changed = listener

    def add(self, name: str = "") -> None:
        """Add a line for an option with several values."""
        line = VariedOption(name, "several values, with commas")
        for control in (line.option, line.values):
            control.observe(self._checked)
        self.varied.append(line)
        self._rows.children = [each.box for each in self.varied]

    def options(self) -> dict[str, Any]:
        """Return what varies, and the options of the experiment itself, as text.

        Raises OptionError for an option that has two lines.
        """
        found: dict[str, Any] = {}
        for line in self.varied:
            name, text = line.option.text, line.values.text
            if not name or not text:
                continue
            if name in found:
                raise OptionError(
                    f"{option(name)} has two lines", "write all its values in one", option=name
                )
            found[name] = text if text.startswith("[") else f"[{text}]"
        own = {name: self.fields[name].text for name in ("seeds", "hold", "band", "workers")}
        own["checkpoint"] = self.fields["checkpoint"].text
        if self.search["search"].text == "optuna":
            parts = {name: self.search[name].text for name in ("trials", "metric", "pruner")}
            given = ",".join(f"{name}={text}" for name, text in parts.items() if text)
            own["search"] = f"optuna:{given}"
        return found | {name: text for name, text in own.items() if text}

    def spec(self, options: Mapping[str, Any]) -> ExperimentSpec:
        """Return the experiment of a run's options. Raises FusionError, and marks its field."""
        with self.marking():
            given = {**options, **self.options()}
            if "seeds" in given:
                given.pop("seed", None)
            return ExperimentSpec.of(given)

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark the field that an error belongs to, and raise the error again."""
        self.clear()
        try:
            yield
        except FusionError as error:
            field = self.field_of(error)
            if field is not None:
                field.mark(messages.sentence_of(error))
            raise

    def field_of(self, error: FusionError) -> Control | None:
        """Return the field that an error belongs to, or None."""
        name = error.option
        for line in self.varied:
            if line.option.text == name and line.values.text:
                return line.values
        if name == "monitor" and self.search["search"].text == "optuna":
            return self.search["metric"]
        return self.fields.get(name) or self.search.get(name)

    def clear(self) -> None:
        """Remove all errors."""
        controls = [*self.fields.values(), *self.search.values()]
        for control in (*controls, *(line.values for line in self.varied)):
            control.mark("")

    def _checked(self) -> None:
        self._fit()
        self._changed()

    def _fit(self) -> None:
        """Hide the fields of a search where every combination is tried."""
        is_search = self.search["search"].text == "optuna"
        for name in ("trials", "metric", "pruner"):
            self.search[name].box.layout.display = "" if is_search else "none"


def told(spec: ExperimentSpec) -> str:
    """Return in a sentence how many runs an experiment has."""
    word = "run" if spec.size == 1 else "runs"
    varied = ", ".join(f"{len(values)} of {label(name)}" for name, values in spec.vary.items())
    count = "1 seed" if len(spec.seeds) == 1 else f"{len(spec.seeds)} seeds"
    if search := spec.searched:
        return f"{search.trials} settings by optuna, {count}: {spec.size} {word} at most"
    return f"{varied or 'one setting'}, {count}: {spec.size} {word}"
