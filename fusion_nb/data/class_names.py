"""Names of classes that data brings beside labels that are numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fusion_nb.core.schema import DataSchema

#: Attributes that hold them: of scikit-learn's data sets, and of torchvision's.
_ATTRIBUTES = ("target_names", "classes")
#: How deep lists of parties, pairs of sets and subsets are looked into.
_DEPTH = 4


def with_class_names(schema: DataSchema, value: Any) -> DataSchema:
    """Return a schema with the names that the data brings, where its labels number classes.

    value: the data as the user gave it: a Bunch, an ImageFolder, or parties or subsets of these
    """
    labels = schema.labels
    if labels.kind != "classes" or labels.classes or labels.low is None or labels.high is None:
        return schema
    found = {*_names(value, _DEPTH)}
    if len(found) != 1:  # several sets may name their classes differently
        return schema
    (names,) = found
    if labels.low < 0 or labels.high >= len(names):
        return schema
    return replace(schema, labels=replace(labels, classes=names))


def _names(value: Any, depth: int) -> Iterator[tuple[str, ...]]:
    """Yield the names that a value and its parts bring."""
    if depth == 0 or isinstance(value, str | bytes | np.ndarray):
        return
    for attribute in _ATTRIBUTES:
        names = _as_names(_get(value, attribute))
        if names:
            yield names
            return
    if isinstance(value, Mapping):
        parts = [*value.values()]
    elif isinstance(value, list | tuple):
        parts = [*value] if len(value) <= 1000 else []
    else:
        parts = [_get(value, "dataset")]
    for part in parts:
        if part is not None:
            yield from _names(part, depth - 1)


def _get(value: Any, attribute: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(attribute)
    try:
        return getattr(value, attribute, None)
    except Exception:  # a property of the user's own
        return None


def _as_names(found: Any) -> tuple[str, ...]:
    """Return an attribute's value as names, or () where it holds none."""
    if not isinstance(found, list | tuple | np.ndarray) or len(found) < 2 or np.ndim(found) != 1:
        return ()
    names = tuple(str(name) for name in found if isinstance(name, str))
    return names if len(names) == len(found) == len({*names}) else ()
