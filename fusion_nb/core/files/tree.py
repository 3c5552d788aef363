"""A tree of plain data as named arrays and values that JSON can hold, and back, to the last digit.

A tree consists of dictionaries, lists and tuples whose leaves are arrays, numbers, text, truth
values and None. Tensors of PyTorch, which its optimizers keep, are leaves too. Nothing is pickled.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from fusion_nb.errors import RunError

#: A node of the tree as JSON: plain leaves stand for themselves, all others are {kind: content}.
Node = Any


#: Types of leaves that stand for themselves, and those of keys that JSON can hold.
_PLAIN, _TEXT = frozenset({type(None), bool, int, str}), frozenset({str})


class Flattener:
    """Takes trees apart. `arrays` holds the arrays of all of them, by the path of each.

    An array that stands in several places is kept once.

    >>> found = Flattener()
    >>> found.flatten({"step": 3, "moments": (np.zeros(2),)}, "state")
    {'dict': {'step': 3, 'moments': {'tuple': [{'array': 'state/moments/0'}]}}}
    >>> list(found.arrays)
    ['state/moments/0']
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        #: By the identity of an object its node, and the object, which must outlive the identity.
        self._known: dict[int, tuple[Node, Any]] = {}

    def flatten(self, value: Any, path: str) -> Node:
        """Return a tree as JSON, and add its arrays to `arrays`.

        path: where the tree stands, in names of arrays and in messages
        Raises RunError that names the place and the class of an object that is no plain data.
        """
        kind = type(value)
        if kind is dict or kind is MappingProxyType:
            return self._flatten_dict(value, path)
        if kind in _PLAIN:
            return value
        if kind is list or kind is tuple:
            items = [self.flatten(item, f"{path}/{i}") for i, item in enumerate(value)]
            return {kind.__name__: items}
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        known = self._known.get(id(value))
        if known is None:
            known = self._known[id(value)] = (self._flatten_leaf(value, path), value)
        return known[0]

    def _flatten_dict(self, value: Mapping[Any, Any], path: str) -> Node:
        items = {key: self.flatten(item, f"{path}/{key}") for key, item in value.items()}
        if set(map(type, items)) <= _TEXT:
            return {"dict": items}
        nodes = [[self.flatten(key, f"{path}: a key"), node] for key, node in items.items()]
        return {"items": nodes}

    def _flatten_leaf(self, value: Any, path: str) -> Node:
        if type(value) is np.ndarray and not value.dtype.hasobject and not value.dtype.names:
            return {"array": self._add(value, path)}
        if isinstance(value, np.generic):
            return {"scalar": self._add(np.asarray(value), path)}
        torch = sys.modules.get("torch")
        if torch is not None and type(value) is torch.Tensor:
            tensor = value.detach().cpu()
            if tensor.dtype is torch.bfloat16:  # numpy has no such numbers
                return {"bfloat16": self._add(tensor.view(torch.int16).numpy(), path)}
            return {"tensor": self._add(tensor.numpy(), path)}
        raise RunError(
            f"the state of this run can't be saved: {path} is {_class_of(value)}, which is no "
            "array, number or text",
            "keep dictionaries and lists of these in a state, or save nothing (checkpoint off)",
            option="checkpoint",
        )

    def _add(self, array: np.ndarray, path: str) -> str:
        name, count = path, 1
        while name in self.arrays:
            count += 1
            name = f"{path} ({count})"
        self.arrays[name] = array
        return name


def restore(node: Node, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the tree that `Flattener.flatten` made a node and arrays of.

    Raises ValueError or KeyError for anything else.
    """
    if not isinstance(node, dict):
        if node is None or isinstance(node, bool | int | float | str):
            return node
        raise ValueError(f"{node!r} is no part of a state")
    (kind, content), *others = node.items()
    if others or kind not in _KINDS:
        raise ValueError(f"{kind!r} is no part of a state")
    return _KINDS[kind](content, arrays)


def _class_of(value: Any) -> str:
    kind = type(value)
    return f"an array of {value.dtype}" if kind is np.ndarray else f"a {kind.__qualname__}"


def _dict(content: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {str(key): restore(item, arrays) for key, item in content.items()}


def _items(content: Any, arrays: Mapping[str, np.ndarray]) -> dict[Any, Any]:
    return {restore(key, arrays): restore(item, arrays) for key, item in content}


def _list(content: Any, arrays: Mapping[str, np.ndarray]) -> list[Any]:
    return [restore(item, arrays) for item in content]


def _tuple(content: Any, arrays: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
    return tuple(_list(content, arrays))


def _tensor(content: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    import torch

    return torch.from_numpy(arrays[content])


def _bfloat16(content: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    import torch

    return torch.from_numpy(arrays[content]).view(torch.bfloat16)


_KINDS: dict[str, Callable[[Any, Mapping[str, np.ndarray]], Any]] = {
    "float": lambda content, arrays: float(content),
    "dict": _dict,
    "items": _items,
    "list": _list,
    "tuple": _tuple,
    "array": lambda content, arrays: arrays[content],
    "scalar": lambda content, arrays: arrays[content][()],
    "tensor": _tensor,
    "bfloat16": _bfloat16,
}
