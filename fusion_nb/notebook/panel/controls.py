"""Controls made from the description of an option: its type, its default, its help and its values.

Every control holds text, as the option line does, and an empty text means that the option is not
given. An error stands under its control, as one sentence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from fusion_nb.core import registry
from fusion_nb.core.options import Option
from fusion_nb.errors import FusionError, OptionError
from fusion_nb.notebook.panel.hints import hinted
from fusion_nb.notebook.panel.messages import alert

#: Three of them stand in a row on a page of 900 pixels, with the bars beside them.
_WIDTH = {"width": "calc(17em - 3px)"}
_STYLE = {"description_width": "7em"}
#: A control's own options stand beside a bar, and there is room for it beside every other one.
_NO_BAR, _BAR = "3px solid transparent", "3px solid #0072B2"
#: Beyond this a browser's numbers are not exact.
_MAX_EXACT = 2**53
#: The kinds whose names may form a chain, and the last name of one that begins.
_CHAINS = {"fusions": "fedavg", "splits": "iid"}
#: The entry of a list that opens a line to type in.
_OTHER = "\0"


class Control(ABC):
    """A control that holds the text of one option, with a place for an error below it."""

    def __init__(self, label: str, default: str) -> None:
        self.label = label
        self.default = default
        self.error = widgets.HTML(layout=widgets.Layout(display="none", max_width="17em"))
        self.box: Any = None

    @property
    @abstractmethod
    def text(self) -> str:
        """The value of the option; empty where it is not given."""

    @abstractmethod
    def set(self, text: str) -> None:
        """Hold a text as if it had been chosen. Raises OptionError for one that can't be held."""

    @abstractmethod
    def observe(self, changed: Callable[[], None]) -> None:
        """Call `changed()` whenever the text may have changed."""

    @property
    def is_default(self) -> bool:
        """Whether leaving the option out would mean the same."""
        return self.text in ("", self.default)

    def mark(self, sentence: str) -> None:
        """Show an error, or remove it with an empty sentence."""
        self.error.value = alert(sentence) if sentence else ""
        self.error.layout.display = "" if sentence else "none"

    @property
    def is_marked(self) -> bool:
        """Whether an error stands under it."""
        return bool(self.error.value)


class Entry(Control):
    """A line of text, a number or a checkbox.

    most:  the largest number that is allowed;  empty: the meaning of an empty line, in few words
    width: of the line, as CSS has it
    """

    def __init__(
        self,
        label: str,
        help: str,
        kind: type,
        default: Any,
        *,
        most: float | None = None,
        empty: str = "",
        width: str = "",
    ) -> None:
        super().__init__(label, "" if default is None else as_text(default))
        self._kind = kind
        common: dict[str, Any] = {
            "description": label,
            "tooltip": help,
            "style": _STYLE,
            "layout": {"width": width} if width else _WIDTH,
        }
        is_number = isinstance(default, int | float) and not isinstance(default, bool)
        if kind is bool:
            self._widget = widgets.Checkbox(bool(default), **common | {"indent": True})
        elif kind is int and is_number and (most is None or most <= _MAX_EXACT):
            self._widget = widgets.IntText(default, **common)
        elif kind is float and is_number:
            self._widget = widgets.FloatText(default, **common)
        else:
            self._kind = str
            self._widget = widgets.Text(
                self.default, continuous_update=False, placeholder=empty, **common
            )
        self.box = hinted(help, self._widget, self.error, border_left=_NO_BAR)

    @property
    def text(self) -> str:
        """The value that it holds, as text."""
        return as_text(self._widget.value).strip()

    def set(self, text: str) -> None:
        """Hold a text.

        Raises OptionError where a number or a checkbox can't hold it, which then keeps its value.
        """
        self._widget.value = Option(self.label, self._kind).read(text or self.default)

    def observe(self, changed: Callable[[], None]) -> None:
        """Call `changed()` when it holds another value."""
        self._widget.observe(lambda _: changed(), "value")


class Choice(Control):
    """A list of names, with controls for the options of the chosen one.

    kind:  the registry's kind that the names are of, or an empty string for plain words
    names: returns the names that can be chosen now
    blank: the entry of the list for choosing nothing, where that is possible
    other: the label of a line in which anything else can be typed, or an empty string for no line
    shown: writes a name in the list
    """

    def __init__(
        self,
        label: str,
        help: str,
        names: Callable[[], Sequence[str]],
        default: str = "",
        *,
        kind: str = "",
        blank: str = "",
        other: str = "",
        shown: Callable[[str], str] = str,
    ) -> None:
        super().__init__(label, default)
        self._names, self._kind, self._help, self._shown = names, kind, help, shown
        self.blank = blank
        self._observers: list[Callable[[], None]] = []
        self._options: list[tuple[Option, Control]] = []
        self._inner: Choice | None = None
        common: dict[str, Any] = {"tooltip": help, "style": _STYLE, "layout": _WIDTH}
        self.head = widgets.Dropdown(description=label, **common)
        self._line = widgets.Text(description=other, continuous_update=False, **common)
        self._parts = widgets.VBox()
        line = [self._line] if other else []
        self.box = hinted(help, self.head, *line, self._parts, self.error, border_left=_NO_BAR)
        self.refresh()
        self.set(default)
        self.head.observe(self._chosen, "value")
        self._line.observe(lambda _: self._notify(), "value")

    @property
    def text(self) -> str:
        """The name with its options that are not the default, and the rest of a chain."""
        if self.head.value == _OTHER:
            return str(self._line.value).strip()
        given = ",".join(
            f"{option.name}={control.text}"
            for option, control in self._options
            if not control.is_default
        )
        text = f"{self.head.value}:{given}" if given else str(self.head.value or "")
        return f"{text}+{self._inner.text}" if self._inner is not None else text

    @property
    def _has_line(self) -> bool:
        return bool(self._line.description)

    @property
    def parts(self) -> list[tuple[Option, Control]]:
        """The options of the chosen name, each with its control."""
        return list(self._options)

    @property
    def inner(self) -> Choice | None:
        """The choice of the next name in a chain, where the chosen one needs another after it."""
        return self._inner

    def set(self, text: str) -> None:
        """Hold a text such as `dirichlet:alpha=0.3`."""
        first, *rest = registry.chain(text) if self._kind in _CHAINS else [text]
        name, given = registry.parse(first) if self._kind else (text, {})
        offered = [value for _, value in self.head.options]
        if name not in offered and self._kind and not self._line.description:
            registry.get(self._kind, name)  # raises where there is none
            self.head.options = [*self.head.options, (name, name)]  # exists, but is not offered
        elif name not in offered:
            name, given, self._line.value = _OTHER, {}, text
        self.head.value = name
        self._arrange()
        if "" in given and self._options:
            given[self._options[0][0].name] = given.pop("")
        for option, control in self._options:
            if option.name in given:
                control.set(given.pop(option.name))
        if given:
            registry.bind(self._kind, first)  # raises, and lists the options that there are
        if self._inner is not None and rest:
            self._inner.set("+".join(rest))

    def check_parts(self) -> OptionError | None:
        """Mark the options of the chosen name whose text is not allowed.

        Return the error of the first of them, by its label, or None.
        """
        found = None if self._inner is None else self._inner.check_parts()
        for option, control in reversed(self._options):
            control.mark("")
            if control.is_default:
                continue
            try:
                option.read(control.text)
            except FusionError as error:
                found = OptionError(f"{control.label} {control.text} is not allowed", error.hint)
                control.mark(f"{found.message}: {found.hint}")
        return found

    def observe(self, changed: Callable[[], None]) -> None:
        """Call `changed()` when another name, or another value of its options, is chosen."""
        self._observers.append(changed)

    def refresh(self) -> None:
        """Offer the names that can be chosen now, and keep the chosen one."""
        kept = self.head.value
        names = list(dict.fromkeys(self._names()))
        if kept == _OTHER and self._line.value in names:  # it was typed before it existed
            kept = self._line.value
        if kept and kept != _OTHER and kept not in names:
            names.append(kept)
        offered = [(self.blank, "")] if self.blank else []
        offered += [(self._shown(name), name) for name in names]
        offered += [("other …", _OTHER)] if self._line.description else []
        if offered != list(self.head.options):
            self.head.options = offered  # ipywidgets then chooses the first
        if kept is not None:
            self.head.value = kept

    def _chosen(self, change: Any) -> None:
        if change["new"] == _OTHER and change["old"] and not self._line.value:
            # Most often one adds options to it: sgd, and then sgd:momentum=0.9.
            self._line.value = change["old"]
        self._arrange()
        self._notify()

    def _arrange(self) -> None:
        """Show the controls that belong to the chosen name."""
        name = self.head.value
        self._line.layout.display = "" if name == _OTHER else "none"
        self._options, self._inner = [], None
        if self._kind and name and name in registry.names(self._kind):
            self._options, self._inner = self._controls_of(name)
        controls: list[Control] = [control for _, control in self._options]
        controls += [self._inner] if self._inner is not None else []
        for control in controls:
            control.observe(self._notify)
        self._parts.children = [control.box for control in controls]
        self.box.layout.border_left = _BAR if controls else _NO_BAR

    def _controls_of(self, name: str) -> tuple[list[tuple[Option, Control]], Choice | None]:
        """Return the controls of a name's options, and of the next name in a chain."""
        try:
            options = registry.options(self._kind, name)
            is_open = registry.is_open(self._kind, name)
        except FusionError:  # an extra is not installed: Start says which
            return [], None
        inner = None
        if is_open:
            default = self.default or _CHAINS[self._kind]
            inner = Choice("with", self._help, self._names, default, kind=self._kind)
        return [(option, for_option(option)) for option in options], inner

    def _notify(self) -> None:
        for changed in self._observers:
            changed()


def for_option(option: Option) -> Control:
    """Return the control of a component's option."""
    bounds = option.bounds_in_words
    help = f"{option.description} ({bounds})" if bounds else option.description
    default = None if option.required else option.default
    empty = "needed" if option.required else ""
    most = option.bounds.get("le")
    entry = Entry(option.name, help, option.type, default, most=most, empty=empty)
    entry.box.layout.border_left = None  # it stands beside the bar of another one
    return entry


def as_text(value: Any) -> str:
    """Return a value as an option line has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
