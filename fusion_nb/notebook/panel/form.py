"""The configuration of a run: a control for every option of a RunSpec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import ipywidgets as widgets

from fusion_nb.errors import DataError, FusionError, ModelError, SplitError
from fusion_nb.models import lookup
from fusion_nb.models.base import Model
from fusion_nb.notebook import complete
from fusion_nb.notebook.panel import messages, offers
from fusion_nb.notebook.panel.controls import Choice, Control, Entry, as_text
from fusion_nb.notebook.panel.groups import Groups, by_group
from fusion_nb.notebook.panel.labels import label, when_empty
from fusion_nb.runs.checks import ordered as checks
from fusion_nb.runs.checks.names import check_names
from fusion_nb.runs.spec import RunSpec, run_option

#: The options that most runs decide, in this order; all others are under More.
_FIRST = (
    "model",
    "data",
    "parties",
    "split",
    "fusion",
    "rounds",
    "epochs",
    "lr",
    "optimizer",
    "batch_size",
    "fraction",
    "seed",
    "until",
)
_GROUPED = by_group(name for name in RunSpec.model_fields if name not in (*_FIRST, "code"))
_REST = tuple(name for names in _GROUPED.values() for name in names)
#: Options with a line in which anything else can be typed, and the label of that line.
_OTHERS = {
    "model": "variable or file",
    "data": "variable or file",
    "data_handler": "class",
    "optimizer": "with options",
    "loss": "variable",
    "device": "device",
    "monitor": "metric",
    "contribution": "with options",
}
#: The option that an error belongs to where it names none.
_OPTION_OF_ERROR = ((SplitError, "split"), (DataError, "data"), (ModelError, "model"))
_ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}


class Form:
    """The controls of all options, in two groups.

    namespace: where models and data are looked for
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._is_loading = False
        self.controls: dict[str, Control] = {}
        for name in (*_FIRST, *_REST):
            self.controls[name] = control = self._make(name)
            control.observe(partial(self._changed, name))
        first = widgets.Box([self.controls[name].box for name in _FIRST], layout=_ROW)
        self._rest = Groups({name: self.controls[name] for name in _REST}, _ROW)
        refresh = widgets.Button(
            description="Refresh variables", tooltip="look again for models and data"
        )
        refresh.on_click(lambda _: self.refresh())
        self._refresh = refresh
        self._more = widgets.Button(tooltip="options that most runs leave as they are")
        self._more.on_click(lambda _: self._unfold(self._rest.box.layout.display == "none"))
        self._offer = widgets.HTML()
        self.buttons = (self._more, refresh)
        self.box = widgets.VBox([first, self._offer, widgets.HBox(self.buttons), self._rest.box])
        self._unfold(False)
        self.refresh()

    @property
    def model(self) -> type[Model] | None:
        """The adapter of the chosen model, or None where that is not known without its file."""
        if "model" not in self.controls:
            return None
        return lookup.adapter_of(self.controls["model"].text, self._namespace)

    @property
    def offer(self) -> str:
        """The sentence on data and fusions that go together with the model, as HTML."""
        return str(self._offer.value)

    def options(self) -> dict[str, str]:
        """Return, as text, every option that differs from its default and that the model has."""
        absent = self._absent_options()
        return {
            name: control.text
            for name, control in self.controls.items()
            if not control.is_default and name not in absent
        }

    def spec(self) -> RunSpec:
        """Return the run that is configured.

        Raises OptionError for a value that is not allowed, and marks its control.
        """
        for name in self.controls:
            self._check(name)
        for name, control in self.controls.items():
            if isinstance(control, Choice) and (wrong := control.check_parts()) is not None:
                self._unfold_for(name)
                raise wrong
        with self.marking():
            spec = RunSpec(**self.options())
            check_names(spec)
            return spec

    def load(self, options: Mapping[str, Any]) -> None:
        """Hold these options, and the defaults of all others.

        Raises OptionError, with nothing changed, for an unknown option or a value that is not
        allowed.
        """
        spec = RunSpec(**options)
        check_names(spec)
        self._is_loading = True
        try:
            for name, control in self.controls.items():
                value = getattr(spec, name)
                control.set("" if value is None else as_text(value))
                control.mark("")
        finally:
            self._is_loading = False
        given = [name for name in options if name in _REST]
        self._unfold(any(not self.controls[name].is_default for name in given))
        self.refresh()

    def on_refresh(self, listener: Callable[[], object]) -> None:
        """Call `listener()` when variables are looked for again by its button."""
        self._refresh.on_click(lambda _: listener())

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark the control that an error belongs to, and raise the error again."""
        try:
            yield
        except FusionError as error:
            if name := self._option_of(error):
                self.controls[name].mark(messages.sentence_of(error))
                self._unfold_for(name)
            raise

    def refresh(self) -> None:
        """Offer the variables that exist now, and the values that go together with the model."""
        for control in self.controls.values():
            if isinstance(control, Choice):
                control.refresh()
        model = self.controls["model"]
        variables = complete.values("model", "", self._namespace)
        if model.text not in self._namespace and model.is_default and variables:
            model.set(variables[-1])
        self._fit_to_model()

    def _make(self, name: str) -> Control:
        """Return the control of an option."""
        described, default = run_option(name), RunSpec.model_fields[name].default
        extra: Any = RunSpec.model_fields[name].json_schema_extra
        help = f"{described.description} (--{name.replace('_', '-')})"
        kind = extra["choices"]
        if not kind and name not in _OTHERS:
            most = described.bounds.get("le")
            empty = when_empty(name)
            help += f"; empty: {empty}" if empty else ""
            return Entry(label(name), help, described.type, default, most=most, empty=empty)
        blank = ""
        if name not in ("model", "data") and not default:
            blank = "default" if "(default: " in help else "none"

        def names() -> list[str]:
            return offers.values(name, self._namespace, self.model)

        other = _OTHERS.get(name, "")
        return Choice(label(name), help, names, default or "", kind=kind, blank=blank, other=other)

    def _absent_options(self) -> set[str]:
        """Return the options that the chosen model does not have."""
        model = self.model
        return checks.absent_options(model) if model else set()

    def _changed(self, name: str) -> None:
        """Check an option that has changed, and the options that depend on it."""
        if self._is_loading:
            return
        self._check(name)
        if name == "model":
            self._fit_to_model()

    def _check(self, name: str) -> None:
        """Mark an option whose text is not allowed, whatever the other options are."""
        control = self.controls[name]
        control.mark("")
        if isinstance(control, Choice) and control.check_parts() is not None:
            return
        if control.is_default:
            return
        try:
            check_names(RunSpec(**{name: control.text}))
        except FusionError as error:
            control.mark(messages.sentence_of(error))

    def _fit_to_model(self) -> None:
        """Hide the options that this kind of model does not have, and explain the offer."""
        absent = self._absent_options()
        for name, control in self.controls.items():
            control.box.layout.display = "none" if name in absent else ""
        self._rest.fit()
        model = self.model
        fusion, data = self.controls["fusion"], self.controls["data"]
        assert isinstance(fusion, Choice)
        assert isinstance(data, Choice)
        fusion.blank = f"{model.defaults['fusion']} (default)" if model else "default"
        fusion.refresh()
        data.refresh()
        self._offer.value = messages.aside(offers.description(model)) if model else ""

    def _option_of(self, error: FusionError) -> str:
        """Return the option that an error belongs to, or an empty string."""
        if error.option in self.controls:
            return error.option
        return next((name for kind, name in _OPTION_OF_ERROR if isinstance(error, kind)), "")

    def _unfold_for(self, name: str) -> None:
        """Show the control of an option, if it is one of those that are folded."""
        if name in _REST:
            self._unfold(True)

    def _unfold(self, opened: bool) -> None:
        self._rest.box.layout.display = "" if opened else "none"
        self._more.description = "Fewer options" if opened else "More options"
