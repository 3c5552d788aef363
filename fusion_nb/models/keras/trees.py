"""Rows that are dicts or tuples of arrays, for models of several inputs or outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fusion_nb.errors import DataError

#: Names of the label in rows that are dicts.
_LABELS = ("label", "labels", "target", "targets", "y", "class")


def is_tree(part: Any) -> bool:
    """Return whether a row's part is several arrays: a dict, or a tuple or list of arrays."""
    if isinstance(part, dict):
        return True
    return (
        isinstance(part, tuple | list)
        and len(part) > 0
        and all(hasattr(item, "shape") and hasattr(item, "dtype") for item in part)
        and not all(np.ndim(item) == 0 for item in part)
    )


def mapped(function: Callable[[Any], Any], part: Any) -> Any:
    """Return a part with a function applied to each of its arrays."""
    return keras.tree.map_structure(function, part) if is_tree(part) else function(part)


def leaves(part: Any) -> list[Any]:
    """Return the arrays of a part in Keras's order."""
    return list(keras.tree.flatten(part)) if is_tree(part) else [part]


def taken(data: tuple[Any, ...], batch: np.ndarray) -> tuple[Any, Any, Any]:
    """Return (x, y, weights or None) of some rows of a data set in memory."""
    parts = [mapped(lambda column: column[batch], part) for part in data]
    return parts[0], parts[1], parts[2] if len(parts) > 2 else None


def collated(rows: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return (x, y, weights or None) of rows that a data set gave one by one."""
    if isinstance(rows[0], dict):
        rows = [_pair(row) for row in rows]
    x, y = (
        stacked([row[part] for row in rows], name) for part, name in enumerate(("rows", "labels"))
    )
    has_weights = len(rows[0]) > 2
    return x, y, stacked([row[2] for row in rows], "weights") if has_weights else None


def _pair(row: dict[str, Any]) -> tuple[Any, Any]:
    """Return (x, y) of a row that is a dict, whose label has one of the usual names."""
    label = next((name for name in row if str(name).lower() in _LABELS), None)
    if label is None:
        raise DataError(
            f"a row of the data set is a dict without a label: {', '.join(map(str, row))}",
            "return (x, y) from its __getitem__, or call the label 'label'",
        )
    x = {name: part for name, part in row.items() if name != label}
    return (next(iter(x.values())) if len(x) == 1 else x), row[label]


def stacked(items: Sequence[Any], where: str) -> Any:
    """Return the parts of several rows as one: an array of rows, or a tree of such arrays.

    Raises DataError for rows of several forms.
    """
    if not is_tree(items[0]):
        return _stack(items, where)
    try:
        return keras.tree.map_structure(lambda *parts: _stack(parts, where), *items)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where} of one batch have several forms",
            "give every row the same keys or the same number of arrays",
        ) from error


def _stack(items: Sequence[Any], where: str) -> np.ndarray:
    arrays = [np.asarray(item) for item in items]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise DataError(
            f"{where} of one batch have the shapes {shapes[0]} and {shapes[1]}",
            "bring all to one shape, such as by padding, in the data set's __getitem__",
        )
    return np.stack(arrays)
