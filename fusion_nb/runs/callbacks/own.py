"""Callbacks of the user's own: objects, and functions that are called after each round."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import NameNotFoundError, OptionError, nearest, option
from fusion_nb.runs.callbacks.callback import Callback

_FORM = "write def after(run, record): ... ; it returns True to end the run"


class AfterRound(Callback):
    """Calls a function `(run, record)` after each round."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def on_round(self, run: Any, record: RoundRecord) -> Any:
        """Call the function."""
        return self.function(run, record)


def as_callback(given: Any) -> Callback:
    """Return a callback, or a function `(run, record)` as one. Raises OptionError otherwise."""
    if isinstance(given, Callback):
        return given
    if inspect.isclass(given):
        hint = f"give an object: {given.__name__}()" if issubclass(given, Callback) else _FORM
        raise OptionError(f"the class {given.__name__} is no callback", hint, option="callbacks")
    if not callable(given):
        raise OptionError(
            f"{option('callbacks')} holds {type(given).__name__}, which can't be called", _FORM
        )
    try:
        inspect.signature(given).bind(None, None)
    except TypeError:
        word = getattr(given, "__name__", type(given).__name__)
        raise OptionError(
            f"{word}{inspect.signature(given)} can't be called as {word}(run, record)",
            _FORM,
            option="callbacks",
        ) from None
    except ValueError:  # a function of C says nothing of its parameters
        pass
    return AfterRound(given)


def names(namespace: Mapping[str, Any]) -> list[str]:
    """Return the names of the user's own functions and callbacks."""
    return [
        name
        for name, value in namespace.items()
        if isinstance(value, Callback)
        or (inspect.isfunction(value) and value.__module__ == namespace.get("__name__"))
    ]


def named_callbacks(text: str, namespace: Mapping[str, Any]) -> list[Callback]:
    """Return the callbacks that text such as `log_it,stop_when_flat` names.

    namespace: where functions, objects, and lists of them are looked up
    Raises NameNotFoundError for a name that is not there, OptionError for one that is no callback.
    """
    found: list[Callback] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name not in namespace:
            raise NameNotFoundError(
                f"{option('callbacks', text)}: there is no variable {name!r}",
                f"{nearest(name, names(namespace))}define a function (run, record) first",
                option="callbacks",
                value=text,
            )
        value = namespace[name]
        given: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
        found += [as_callback(each) for each in given]
    return found
