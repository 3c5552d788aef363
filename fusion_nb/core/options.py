"""Options of runs and of components: their meaning, their allowed values, and how to read them.

An option is written in one way, whether it is a field of `RunSpec` or a keyword-only parameter of a
component: as an annotated type with pydantic's `Field`, whose bounds are those of annotated-types.

    alpha: Annotated[float, Field(gt=0, description="how even the parties are")] = 0.5

This module reads such annotations by their attributes and imports pydantic only to convert a value,
so that a component without options costs nothing.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from fusion_nb.errors import OptionError

#: Marks an option whose text names a column or a variable: `Annotated[str, Field(...), PER_ROW]`.
#: The component gets the values behind that name, one for each row.
PER_ROW = "per row"

_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of"}
#: Bytes in the letters that sizes end in.
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Option:
    """One option, as help, completion, panel, YAML and HTTP show it.

    annotation: its type, with its description and bounds
    default:    `inspect.Parameter.empty` where it is required
    """

    name: str
    annotation: Any
    default: Any = inspect.Parameter.empty

    @property
    def type(self) -> type:
        """Its plain type: bool, int, float or str. `int | None` is an int."""
        written = {*_plain(self.annotation)}
        found = next((kind for kind in (bool, int, float, str) if kind in written), None)
        return found or (type(self.default) if type(self.default) in (int, float, bool) else str)

    @property
    def required(self) -> bool:
        """Whether the component needs it."""
        return self.default is inspect.Parameter.empty

    @property
    def description(self) -> str:
        """Its meaning, in a few words."""
        found = (getattr(note, "description", None) for note in _notes(self.annotation))
        return next(filter(None, found), "")

    @property
    def is_per_row(self) -> bool:
        """Whether its text names values, one for each row."""
        return PER_ROW in _notes(self.annotation)

    @property
    def bounds(self) -> dict[str, float]:
        """Its bounds by their names in annotated-types: `gt`, `ge`, `lt`, `le`, `multiple_of`."""
        return {
            name: getattr(bound, name)
            for note in _notes(self.annotation)
            for bound in (note, *getattr(note, "metadata", ()))
            for name in _SIGNS
            if getattr(bound, name, None) is not None
        }

    @property
    def bounds_in_words(self) -> str:
        """Its bounds in words, such as `> 0 and <= 1`; empty where there are none."""
        bounds = self.bounds
        return " and ".join(f"{_SIGNS[name]} {bounds[name]:g}" for name in _SIGNS if name in bounds)

    @property
    def allowed(self) -> str:
        """Its allowed values in words, such as `a number > 0 and <= 1`."""
        return f"{_WORDS[self.type]} {self.bounds_in_words}".strip()

    def read(self, text: Any, where: str = "") -> Any:
        """Return a value of its type from text. Raises OptionError with the allowed values.

        where: the option as it was written, for the message
        """
        from pydantic import TypeAdapter, ValidationError

        notes = [note for note in _notes(self.annotation) if note is not PER_ROW]
        try:
            kind: Any = Annotated[self.type, *notes] if notes else self.type
            return TypeAdapter(kind).validate_python(text)
        except ValidationError:
            raise OptionError(
                f"{where or self.name}={text} is not allowed", f"give {self.allowed}"
            ) from None


def signature_options(implementation: Callable[..., Any]) -> list[Option]:
    """Return the keyword-only parameters of a function or class as options."""
    parameters = inspect.signature(implementation, eval_str=True).parameters.values()
    return [
        Option(_written(parameter.name), parameter.annotation, parameter.default)
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    ]


def as_keywords(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by the names of their parameters: `lambda_` for the option `lambda`."""
    return {f"{name}_" if keyword.iskeyword(name) else name: values[name] for name in values}


def _written(parameter: str) -> str:
    return parameter[:-1] if keyword.iskeyword(parameter[:-1]) else parameter


def _notes(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _plain(annotation: Any) -> Iterator[Any]:
    """Yield the plain types of an annotation, those of a union one by one."""
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    yield plain
    yield from get_args(plain)


def bytes_of(text: str) -> int:
    """Return the number of bytes of `4G`, `500M` or `1000`. Raises OptionError for other text."""
    number, unit = (text[:-1], text[-1].upper()) if text and not text[-1].isdigit() else (text, "")
    if not number.isdecimal() or unit not in _SIZES:
        raise OptionError(f"{text!r} is not a size", "write a number of bytes, as 500M or 4G")
    return int(number) * _SIZES[unit]
