"""Errors about an option of a spec: they say which one it is, which one a word of other libraries
means, and what a notebook has instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from fusion_nb.core import registry
from fusion_nb.errors import FusionError, NameNotFoundError, OptionError, nearest, option

#: Options of a spec whose components have a decorator of the option's name.
_DECORATED = ("fusion", "split", "engine", "metrics")

#: Word of other libraries -> the option that has its meaning here.
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "aggregation": "fusion",
        "aggregator": "fusion",
        "backend": "engine",
        "client_fraction": "fraction",
        "cuda": "device",
        "dataset": "data",
        "fraction_fit": "fraction",
        "gpu": "device",
        "learning_rate": "lr",
        "local_lr": "lr",
        "num_workers": "parties",
        "partition": "split",
        "partitioner": "split",
        "strategy": "fusion",
        "target": "label",
        "test_size": "holdout",
        "workers": "parties",
    }
)


@contextmanager
def about(name: str, value: str) -> Iterator[None]:
    """Let an error that names no option say which one it is about."""
    try:
        yield
    except FusionError as error:
        if not error.option:
            error.option, error.value = name, value
        raise


def or_a_sweep(hint: str, value: Any) -> str:
    """Return a hint, which tells of sweeps where a value looks like several ones."""
    text = value.strip() if isinstance(value, str) else ""
    is_list = text.startswith("[") or "," in text.partition(":")[0]
    if not (is_list or isinstance(value, list | tuple | range)):
        return hint
    return f"{hint}; a sweep tries several values: %fusion sweep, or fusion_nb.sweep(...)"


@contextmanager
def not_registered(name: str, text: str, namespace: Mapping[str, Any]) -> Iterator[None]:
    """Let an error about an unknown name say where the notebook has a function of that name."""
    try:
        yield
    except NameNotFoundError as error:
        own = str(error.value) if name == "metrics" else registry.parse(text)[0]
        if name not in _DECORATED or not callable(namespace.get(own)):
            told = error.to_dict()
            hint = told["hint"] if name == "metrics" else or_a_sweep(told["hint"], text)
            if hint == told["hint"]:
                raise
            raise NameNotFoundError(
                told["message"],
                hint,
                value=error.value,
                option=error.option,
                allowed=error.allowed,
            ) from None
        kind = "class" if isinstance(namespace[own], type) else "function"
        decorator = "fusion_nb.metric" if name == "metrics" else name
        raise NameNotFoundError(
            f"{option(name, text)}: the {kind} {own} of this notebook is not registered",
            f"add @{decorator} above it",
            value=error.value,
            option=error.option,
            allowed=error.allowed,
        ) from None


def meant(word: str, known: Iterable[str]) -> str:
    """Return `did you mean X? ` for a word that is no option, or an empty string.

    known: the options as they are written, and their aliases
    """
    elsewhere = _ELSEWHERE.get(word.lstrip("-").replace("-", "_"))
    return f"did you mean {option(elsewhere)}? " if elsewhere else nearest(word, known)


def renamed(options: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Return options by their names, where some are given by an alias.

    Raises OptionError for an option that is given under two names.
    """
    found: dict[str, Any] = {}
    for word, value in options.items():
        name = aliases.get(word, word)
        if name in found:
            words = [other for other in options if aliases.get(other, other) == name]
            raise OptionError(
                f"{' and '.join(words)} are the same option", "give one of them", option=name
            )
        found[name] = value
    return found
