"""What a run is to be: a control for every option of a RunSpec, and what does not go together left
out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

import ipywidgets as widgets

from fusion_nb.core import registry
from fusion_nb.data import handlers, texts
from fusion_nb.errors import DataError, FusionError, ModelError, SplitError, cell_spelling
from fusion_nb.models import base as models
from fusion_nb.models import lookup
from fusion_nb.notebook import complete
from fusion_nb.notebook.panel import messages
from fusion_nb.notebook.panel.controls import Choice, Control, Entry
from fusion_nb.runs import checks, fusion_checks
from fusion_nb.runs.resolve import check_names
from fusion_nb.runs.spec import RunSpec

#: What most runs decide, in this order; every other option is under More.
_FIRST = (
    *(
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
    ),
    *("fraction", "seed", "until"),
)
_LABELS = {"lr": "learning rate", "until": "stop when", "keep_optimizer": "keep optimizer"}
#: What is asked for where something else may be typed than the list has.
_OTHERS = {
    "model": "variable or file",
    "data": "variable or file",
    "data_handler": "class",
    "optimizer": "with options",
    "loss": "variable",
    "device": "device",
    "monitor": "metric",
}
#: What an error is about that names no option.
_ABOUT = ((SplitError, "split"), (DataError, "data"), (ModelError, "model"))


class Form:
    """The controls of all options, in two groups; models and data are looked for in `namespace`."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace, self._is_loading = namespace, False
        fields = [
            *_FIRST,
            *(name for name in RunSpec.model_fields if name not in (*_FIRST, "code")),
        ]
        self.controls: dict[str, Control] = {}
        for name in fields:
            self.controls[name] = control = self._make(name)
            control.watch(partial(self._look_at, name))
        wrapped = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}
        first = [self.controls[name].box for name in _FIRST]
        self._rest = widgets.Box(
            [self.controls[name].box for name in fields[len(_FIRST) :]], layout=wrapped
        )
        self._refresh = widgets.Button(
            description="Refresh variables", tooltip="look again for models and data"
        )
        self._refresh.on_click(lambda _: self.refresh())
        self._more = widgets.Button(tooltip="options that most runs leave as they are")
        self._more.on_click(lambda _: self._unfold(self._rest.layout.display == "none"))
        buttons = widgets.HBox([self._more, self._refresh])
        self._left_out = widgets.HTML()
        self.box = widgets.VBox(
            [widgets.Box(first, layout=wrapped), self._left_out, buttons, self._rest]
        )
        self._unfold(False)
        self.refresh()

    @property
    def kind(self) -> type[models.Model] | None:
        """What takes the chosen model, as far as that can be told without reading a file."""
        return (
            lookup.adapter_of(self.controls["model"].text, self._namespace)
            if "model" in self.controls
            else None
        )

    def options(self) -> dict[str, Any]:
        """Return, as text, every option that is not as it would be if it were left out."""
        kind = self.kind
        absent = checks.absent_options(kind) if kind else set()
        return {
            n: control.text
            for n, control in self.controls.items()
            if not control.is_default and n not in absent
        }

    def spec(self) -> RunSpec:
        """Return the run that is asked for. Raises OptionError for what is not allowed, which is
        then marked.
        """
        for name in self.controls:
            self._check(name)
        with self.marking():
            spec = RunSpec(**self.options())
            check_names(spec)
            return spec

    def load(self, options: Mapping[str, Any]) -> None:
        """Hold these options, and leave all others as they are when nobody said anything.

        Raises OptionError, with nothing changed, for options that there are not or values that are
        not allowed.
        """
        spec = RunSpec(**options)
        check_names(spec)
        self._is_loading = True
        try:
            for name, control in self.controls.items():
                value = getattr(spec, name)
                control.set(
                    ""
                    if value is None
                    else str(value).lower()
                    if isinstance(value, bool)
                    else str(value)
                )
                control.mark("")
        finally:
            self._is_loading = False
        given = [name for name in options if name in self.controls and name not in _FIRST]
        self._unfold(any(not self.controls[name].is_default for name in given))
        self.refresh()

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark the control that an error is about, and let the error go on."""
        try:
            yield
        except FusionError as error:
            if name := self._place(error):
                self.controls[name].mark(messages.one_line(error))
                if name not in _FIRST:
                    self._unfold(True)
            raise

    def refresh(self) -> None:
        """Offer the variables that there are now, and what goes together with the model."""
        for control in self.controls.values():
            if isinstance(control, Choice):
                control.refresh()
        model = self.controls["model"]
        there = complete.values("model", "", self._namespace)
        if model.text not in self._namespace and model.is_default and there:
            model.set(there[-1])
        self._fit_to_model()

    def _make(self, name: str) -> Control:
        field = RunSpec.model_fields[name]
        extra: Any = field.json_schema_extra
        label, default = _LABELS.get(name, name.replace("_", " ")), field.default
        spelled = f"--{name.replace('_', '-')}"
        help = f"{field.description} ({spelled})"
        kind = extra["choices"]
        if kind or name in _OTHERS:
            blank = (
                ""
                if name in ("model", "data") or default
                else ("default" if "(default: " in help else "none")
            )
            text, other = "" if default is None else str(default), _OTHERS.get(name, "")
            return Choice(
                label, help, partial(self._names, name), text, kind=kind, blank=blank, other=other
            )
        types = (field.annotation, *get_args(field.annotation))
        return Entry(
            label,
            help,
            next(kind for kind in (bool, int, float, str) if kind in types),
            default,
            most=_most(field),
        )

    def _names(self, name: str) -> list[str]:
        """Return what an option can be given now, but for what does not go together with the
        model.
        """
        found, kind = complete.values(name, "", self._namespace), self.kind
        if name == "data":  # the user's own first
            found = sorted(
                (n for n in found if not _needs_file(n)), key=lambda n: n not in self._namespace
            )
        if kind and name == "data":
            found = [each for each in found if self._gives(each) in ("", kind.data_kind)]
        if kind and name == "fusion":
            found = [each for each in found if not _refused(kind, each)]
        return found

    def _gives(self, name: str) -> str:
        """Return whether a variable or a data set is of documents or of numbers; nothing where it
        may be either.
        """
        value = self._namespace.get(name)
        if value is None:
            return handlers.kind_of(registry.get("datasets", name))
        if hasattr(value, "columns"):  # which column is text, and which the label, is not known yet
            return ""
        parts = list(value.values()) if isinstance(value, dict) else value
        first = parts[:1] if isinstance(parts, list | tuple) else ()
        return (
            "documents"
            if any(texts.holds_documents(part) for part in (parts, *first))
            else "numbers"
        )

    def _look_at(self, name: str) -> None:
        """Check an option that has become another one, and what depends on it."""
        if self._is_loading:
            return
        self._check(name)
        if name == "model":
            self._fit_to_model()

    def _check(self, name: str) -> None:
        """Mark an option whose text is not allowed whatever the others are."""
        control = self.controls[name]
        control.mark("")
        if control.is_default:
            return
        try:
            check_names(RunSpec(**{name: control.text}))
        except FusionError as error:
            control.mark(messages.one_line(error))

    def _fit_to_model(self) -> None:
        """Leave out what this kind of model does not have, and say why."""
        kind = self.kind
        absent = checks.absent_options(kind) if kind else set()
        for name, control in self.controls.items():
            control.box.layout.display = "none" if name in absent else ""
        fusion, data = self.controls["fusion"], self.controls["data"]
        assert isinstance(fusion, Choice)
        assert isinstance(data, Choice)
        fusion.blank = f"{kind.defaults['fusion']} (default)" if kind else "default"
        fusion.refresh()
        data.refresh()
        refused = {f: r for f in registry.names("fusions") if kind and (r := _refused(kind, f))}
        self._left_out.value = ""
        if kind:
            why = " and ".join(
                sorted({reason for reasons in refused.values() for reason in reasons})
            )
            parts = [f"data are {kind.data_kind}, which is what a {kind.kind} takes"]
            parts += [
                f"without the fusion{'s' * (len(refused) > 1)} {', '.join(refused)}, since it "
                f"can't do {why}"
            ] * bool(refused)
            self._left_out.value = messages.aside(f"Offered: {'; '.join(parts)}.")

    def _place(self, error: FusionError) -> str:
        """Return the option that an error is about: the first that it names, or else by its
        kind.
        """
        error.spelled(cell_spelling)
        spelled = (
            word.replace("-", "_") for word in re.findall(r"--([a-z][a-z-]*)", error.message)
        )
        if found := next((word for word in spelled if word in self.controls), ""):
            return found
        quoted = set(re.findall(r"'([^']*)'", error.message))
        for name, control in self.controls.items():
            if quoted & {control.text, *re.split(r"[:,=+]", control.text)}:
                return name
        return next((name for kind, name in _ABOUT if isinstance(error, kind)), "")

    def _unfold(self, opened: bool) -> None:
        self._rest.layout.display = "flex" if opened else "none"
        self._more.description = "Fewer options" if opened else "More options"


def _refused(kind: type[models.Model], fusion: str) -> list[str]:
    """Return what a fusion asks of parties that a kind of model can't do."""
    try:
        made = registry.create("fusions", fusion)
    except (
        FusionError
    ):  # it needs another one after it, or an option that has no default: it depends
        return []
    return fusion_checks.unsupported(kind, made)


def _needs_file(name: str) -> bool:
    return name in registry.names("datasets") and registry.takes_another(
        registry.get("datasets", name)
    )


def _most(field: Any) -> float | None:
    return next((m.le for m in field.metadata if hasattr(m, "le")), None)
