"""Objects that a call from Python gives where a cell names variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

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
