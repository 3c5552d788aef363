"""Errors about an option of a spec: they say which one it is, and what a notebook has instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fusion_nb.core import registry
from fusion_nb.errors import FusionError, NameNotFoundError, option

#: Options of a spec whose components have a decorator of the option's name.
_DECORATED = ("fusion", "split", "engine", "metrics")


@contextmanager
def about(name: str, value: str) -> Iterator[None]:
    """Let an error that names no option say which one it is about."""
    try:
        yield
    except FusionError as error:
        if not error.option:
            error.option, error.value = name, value
        raise


@contextmanager
def not_registered(name: str, text: str, namespace: Mapping[str, Any]) -> Iterator[None]:
    """Let an error about an unknown name say where the notebook has a function of that name."""
    try:
        yield
    except NameNotFoundError as error:
        own = str(error.value) if name == "metrics" else registry.parse(text)[0]
        if name not in _DECORATED or not callable(namespace.get(own)):
            raise
        kind = "class" if isinstance(namespace[own], type) else "function"
        decorator = "fusion_nb.metric" if name == "metrics" else name
        raise NameNotFoundError(
            f"{option(name, text)}: the {kind} {own} of this notebook is not registered",
            f"add @{decorator} above it",
            value=error.value,
            option=error.option,
            allowed=error.allowed,
        ) from None
