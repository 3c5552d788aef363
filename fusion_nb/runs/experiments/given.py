"""Objects that a call from Python gives where a cell names variables."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fusion_nb.errors import OptionError, option

#: Options of `federate` that may be objects.
_OBJECTS = (
    "model",
    "data",
    "loss",
    "optimizer",
    "data_handler",
    "lr_schedule",
    "sampling",
    "callbacks",
)


def named_values(name: str, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the values of an option that varies, with names in place of objects, and these.

    >>> named_values("loss", ["mse", max])[0]
    ['mse', 'given_max']
    """
    found: list[Any] = []
    namespace: dict[str, Any] = {}
    for value in values:
        if isinstance(value, str) or not (callable(value) or hasattr(value, "get_config")):
            found.append(value)
            continue
        own = str(getattr(value, "__name__", type(value).__name__))
        base = f"given_{own}" if own.isidentifier() else f"given_{name}"
        each = next(n for n in _numbered(base) if n not in namespace)
        namespace[each] = value
        found.append(each)
    return found, namespace


def _numbered(base: str) -> Iterator[str]:
    yield base
    yield from (f"{base}_{number}" for number in itertools.count(2))


def check_present(
    spec: Mapping[str, Any], namespace: Mapping[str, Any], where: str, *, is_file: bool = False
) -> None:
    """Raise OptionError where a saved spec names an object of the call that it is of.

    namespace: has the objects that are given again;  where: the spec is saved, in words
    is_file: the spec is a file, whose code can make them
    """
    for name in _OBJECTS:
        if spec.get(name) == f"given_{name}" and f"given_{name}" not in namespace:
            raise OptionError(
                f"{option(name)} of {where} was an object of the call from Python",
                f"let the file's code make it: given_{name} = ..."
                if is_file
                else f"give it again: {option(name)}",
                option=name,
            )


def named_objects(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a spec, with names in place of objects, and the objects by name."""
    chosen: dict[str, Any] = {}
    namespace: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if name == "roles" and isinstance(value, Mapping):
            value = ";".join(f"{party}={role}" for party, role in value.items())
        if name in ("model", "data") and isinstance(value, os.PathLike):
            value = os.fspath(value)
        chosen[name] = value
        if name in _OBJECTS and not isinstance(value, str):
            # The name tells the reader of the spec that this was an object.
            chosen[name] = f"given_{name}"
            namespace[chosen[name]] = value
    return chosen, namespace
