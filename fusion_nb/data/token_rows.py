"""Rows of tokens, as tokenizers and data sets of language models have them, made of one length.

They are a dict of columns with `input_ids`, a Dataset with such a column, a list of rows that are
such dicts, or a list of lists of token numbers. Such lists inside a tuple are rows and labels of
any model, as they always were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from fusion_nb.errors import DataError

_IDS, _MASK = "input_ids", "attention_mask"
#: Names of the column that holds the labels, the usual one first.
_LABELS = ("labels", "label", "target", "targets", "y")
#: The label that losses of language models leave out.
_NOT_COUNTED = -100


def read(value: Any, notes: list[str]) -> Any:
    """Return a value with each set of tokens in it as (columns, labels); None without any.

    The rows of all sets have one length. Sentences about what was padded or guessed are added to
    `notes`. Raises DataError for columns of different lengths, or rows that are no tokens.
    """
    sets = list(_sets(value))
    if not sets:
        return None
    lengths = [len(np.atleast_1d(row)) for found in sets for row in found[_IDS]]
    if not lengths:
        raise DataError("there are no rows of tokens", "give at least two")
    made = {id(found): _arrays(found, max(lengths), notes) for found in sets}
    if min(lengths) < max(lengths):
        _note(
            notes,
            f"data: rows of {min(lengths)} to {max(lengths)} tokens are padded to {max(lengths)} "
            "on the right, and attention_mask hides the padding",
        )
    arranged = iter(sets)
    return _replaced(value, lambda: made[id(next(arranged))])


def _sets(value: Any, *, bare: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the columns of each set of tokens in a value, in order.

    bare: whether lists of lists of numbers are tokens; in a tuple they are rows and their labels
    """
    if (columns := _columns(value, bare=bare)) is not None:
        yield columns
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _sets(part, bare=bare)
    elif isinstance(value, list | tuple) and value and _may_hold_sets(value):
        for part in value:
            yield from _sets(part, bare=bare and isinstance(value, list))


def _may_hold_sets(value: list[Any] | tuple[Any, ...]) -> bool:
    """Return whether a list or tuple may be one of sets of rows, and is no long list of rows."""
    first = value[0]
    return isinstance(first, list | Mapping) or _is_dataset(first) or _gives_lists(first)


def _replaced(value: Any, following: Callable[[], Any], *, bare: bool = True) -> Any:
    """Return a value with its sets of tokens replaced, in the order of `_sets`."""
    if _columns(value, bare=bare) is not None:
        return following()
    if isinstance(value, Mapping):
        return {name: _replaced(part, following, bare=bare) for name, part in value.items()}
    if isinstance(value, list | tuple):
        is_list = isinstance(value, list)
        parts = [_replaced(part, following, bare=bare and is_list) for part in value]
        return parts if is_list else tuple(parts)
    return value


def _columns(value: Any, *, bare: bool) -> dict[str, Any] | None:
    """Return the columns of one set of tokens, or None for anything else."""
    if isinstance(value, tuple):
        return _with_labels(value)
    if isinstance(value, Mapping):
        return dict(value) if _IDS in value and not isinstance(value[_IDS], Mapping) else None
    if _is_dataset(value):
        return {name: list(value[name]) for name in value.column_names}
    if _gives_lists(value):
        value = [value[number] for number in range(len(value))]
    return _columns_of_rows(value, bare=bare) if isinstance(value, list) and value else None


def _columns_of_rows(rows: list[Any], *, bare: bool) -> dict[str, Any] | None:
    """Return the columns of a list of rows of tokens, or None for any other list."""
    if all(isinstance(row, Mapping) and _IDS in row for row in rows):
        if any(np.ndim(token) for token in rows[0][_IDS][:1]):  # parties, each with columns
            return None
        return {name: [row[name] for row in rows] for name in rows[0]}
    if bare and all(isinstance(row, list) and row and _are_tokens(row) for row in rows):
        return {_IDS: rows}
    return None


def _with_labels(value: tuple[Any, ...]) -> dict[str, Any] | None:
    """Return the columns of a pair (tokens, labels), or None for any other tuple."""
    if len(value) != 2 or isinstance(value[0], tuple) or value[1] is None:
        return None
    columns = _columns(value[0], bare=False)
    if columns is None or _columns(value[1], bare=False) is not None:
        return None
    return {**columns, _LABELS[0]: value[1]}


def _is_dataset(value: Any) -> bool:
    """Return whether a value gives its columns by name, as the package datasets does."""
    names = getattr(value, "column_names", None)
    return isinstance(names, list) and _IDS in names


def _gives_lists(value: Any) -> bool:
    """Return whether a value gives one row at a time, a dict of lists of Python's own numbers.

    Rows of arrays and tensors are batched as they come; lists would be batched by position.
    """
    is_column = hasattr(value, "shape") or isinstance(value, list | tuple | Mapping | str | bytes)
    if is_column or not (hasattr(value, "__len__") and hasattr(value, "__getitem__")):
        return False
    try:
        first = value[0]
    except Exception:  # of the user's own code, which is told when all rows are read
        return False
    return isinstance(first, Mapping) and isinstance(first.get(_IDS), list)


def _are_tokens(row: list[Any]) -> bool:
    return all(isinstance(token, int | np.integer) and token is not True for token in row)


def _arrays(columns: Mapping[str, Any], length: int, notes: list[str]) -> tuple[Any, np.ndarray]:
    """Return a set's columns as arrays whose rows have a length, and its labels."""
    columns = {name: _listed(values) for name, values in columns.items()}
    sizes = [len(np.atleast_1d(row)) for row in columns[_IDS]]
    if min(sizes) < length and _MASK not in columns:
        columns[_MASK] = [np.ones(size, dtype=np.int64) for size in sizes]
    found: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        if len(values) != len(sizes):
            raise DataError(
                f"the column {name!r} has {len(values)} rows, and {_IDS!r} {len(sizes)}",
                "give columns of one length",
            )
        if isinstance(values[0], str | bytes | dict | None):
            _note(notes, f"data: the column {name!r} holds no numbers, and is not used")
            continue
        fill = _NOT_COUNTED if name in _LABELS else 0
        found[name] = _padded(name, values, sizes, length, fill)
    label = next((name for name in _LABELS if name in found), "")
    if label:
        return {name: array for name, array in found.items() if name != label}, found[label]
    _note(
        notes,
        "labels: the tokens themselves, as a causal language model learns them; another task needs "
        "a column 'labels'",
    )
    mask = found.get(_MASK)
    ids = found[_IDS]
    return found, ids.copy() if mask is None else np.where(mask != 0, ids, _NOT_COUNTED)


def _listed(values: Any) -> Any:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return values if isinstance(values, list) else list(np.asarray(values))


def _padded(name: str, values: Any, sizes: list[int], length: int, fill: int) -> np.ndarray:
    """Return a column as an array; rows as long as their tokens are filled up on the right."""
    rows = [np.asarray(row) for row in values]
    if all(row.ndim == 1 and len(row) == size for row, size in zip(rows, sizes, strict=True)):
        is_whole = rows[0].dtype.kind in "biu"
        made = np.full((len(rows), length), fill, np.int64 if is_whole else rows[0].dtype)
        for number, row in enumerate(rows):
            made[number, : len(row)] = row
        return made
    if len({row.shape for row in rows}) > 1:
        number = next(i for i, row in enumerate(rows) if row.shape != rows[0].shape)
        raise DataError(
            f"the column {name!r} has rows of several shapes that are not those of {_IDS!r}: row "
            f"{number} has {rows[number].shape}, and {sizes[number]} tokens",
            "give each token one entry, or each row",
        )
    return np.stack(rows)


def _note(notes: list[str], text: str) -> None:
    if text not in notes:
        notes.append(text)
