"""Batches that are trees: tensors in tuples, lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from fusion_nb.errors import ModelError

#: Names under which a row that is a dict holds its label, the usual one first.
LABELS = ("labels", "label", "targets", "target", "y")


def mapped(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Return a tree with a function applied to its tensors; other leaves are not changed."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {name: mapped(function, part) for name, part in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(mapped(function, part) for part in tree)
    return tree


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of a tree."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | tuple | list):
        for part in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors(part)


def split(batch: Any) -> tuple[Any, Any]:
    """Return the rows and the labels of a batch: (x, y), (x, y, weights), or a dict with labels.

    Raises ModelError for any other.
    """
    if isinstance(batch, list | tuple) and len(batch) in (2, 3):
        return batch[0], batch[1]
    if isinstance(batch, Mapping):
        name = next((name for name in LABELS if name in batch), "")
        if name:
            return {key: part for key, part in batch.items() if key != name}, batch[name]
        raise ModelError(
            f"a row is a dict of {', '.join(map(str, batch))}, none of which is its label",
            f"call its label one of: {', '.join(LABELS)}; or give a loss of (module, batch)",
        )
    raise ModelError(
        "a row of this Dataset is not a pair (x, y)",
        "return (x, y) from its __getitem__; rows of several inputs are ((a, b), y), or a dict "
        "with 'labels'; or give a loss of (module, batch)",
    )


def num_rows(tree: Any) -> int:
    """Return the number of rows of a batch. Raises ModelError for a batch without a tensor."""
    if isinstance(tree, Tensor):
        return len(tree)
    first = next(tensors(tree), None)
    if first is None or not first.ndim:
        raise ModelError(
            "a batch of these rows holds no tensor", "encode text, and return numbers for each row"
        )
    return len(first)


def device_of(tree: Any) -> str:
    """Return the kind of device that a batch is on."""
    first = next(tensors(tree), None)
    return "cpu" if first is None else first.device.type


def part(tree: Any, rows: slice) -> Any:
    """Return some rows of a batch."""
    return tree[rows] if isinstance(tree, Tensor) else mapped(lambda t: t[rows], tree)


def twice(tree: Any) -> Any:
    """Return a batch with each row once more."""
    return mapped(lambda t: torch.cat([t, t]), tree)


def reversed_rows(tree: Any) -> Any:
    """Return a batch in the reverse order."""
    return mapped(lambda t: t.flip(0), tree)


def described(tree: Any) -> str:
    """Return the shapes of the rows of a batch as words."""
    if isinstance(tree, Tensor):
        return f"shape {tuple(tree.shape[1:])}"
    if isinstance(tree, Mapping):
        return ", ".join(f"{name}: {described(part)}" for name, part in tree.items())
    if isinstance(tree, tuple | list):
        return ", ".join(map(described, tree))
    return type(tree).__name__
