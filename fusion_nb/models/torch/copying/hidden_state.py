"""The state of a module that is not among its weights: counters, lists, averages, caches.

Weights are set anew before each party's turn, and such state is not: it would go from one party to
the next one on the same worker. So it is set back to its first values where training changes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_nb.models.torch.copying.copies import duplicated_value

#: Attributes that every module has.
_STANDARD = frozenset(vars(nn.Module()))


#: Levels of objects within objects that are compared.
_DEEPEST = 20


class _Value(Enum):
    """The value of an attribute that is not there yet."""

    ABSENT = 0


@dataclass(frozen=True)
class HiddenState:
    """Attributes and buffers of a module that its state dict leaves out, with their values.

    values: (path of a layer, name) -> a copy of the value
    """

    values: dict[tuple[str, str], Any]

    @classmethod
    def of(cls, module: nn.Module) -> HiddenState:
        """Return the hidden state of a module as it is now."""
        parts: list[Any] = [*module.modules(), *module.parameters(), *_persistent(module)]
        own = {id(part): part for part in parts}
        found = {}
        for key, value in _attributes(module):
            found[key] = duplicated_value(value, own)
        return cls(found)

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def names(self) -> list[str]:
        """The names of the attributes, as `layer.steps`."""
        return [f"{path}.{name}" if path else name for path, name in self.values]

    def differing(self, other: HiddenState) -> HiddenState:
        """Return the part of this state whose values the other one does not have."""
        mine, others = self.values, other.values
        keys = [*mine, *(key for key in others if key not in mine)]
        found = {key: mine.get(key, _Value.ABSENT) for key in keys}
        return HiddenState(
            {
                key: value
                for key, value in found.items()
                if not same(value, others.get(key, _Value.ABSENT))
            }
        )

    def within(self, keys: HiddenState) -> HiddenState:
        """Return the part of this state that has the names of the other one."""
        return HiddenState({key: self.values.get(key, _Value.ABSENT) for key in keys.values})

    def restore(self, module: nn.Module) -> None:
        """Give a module these values."""
        for (path, name), value in self.values.items():
            layer = module.get_submodule(path)
            place: Any = layer._buffers if name in layer._buffers else vars(layer)
            if value is _Value.ABSENT:
                place.pop(name, None)
            else:
                found = duplicated_value(value, {})
                old = place.get(name)
                is_moved = isinstance(found, Tensor) and isinstance(old, Tensor)
                place[name] = found.to(old.device) if is_moved else found


@dataclass(frozen=True)
class Carried:
    """State that training carries from batch to batch, beside the weights.

    hidden:       the first values of the module's
    changes_loss: whether the loss changes itself
    num_foreign:  parameters that get a gradient and are not the module's
    repeats:      whether the same rows gave the same loss a second time
    """

    hidden: HiddenState
    changes_loss: bool = False
    num_foreign: int = 0
    repeats: bool = True

    def notes(self, loss: str) -> list[str]:
        """Return what a user must know of it, as sentences.

        loss: its name
        """
        found = []
        if self.hidden:
            found.append(
                f"warning: training changes {', '.join(self.hidden.names[:3])} of the model, which "
                "is not among its weights: each training and evaluation starts from the first "
                "values. register_buffer() has finite numbers fused"
            )
        if self.changes_loss:
            found.append(
                f"warning: the loss {loss} changes itself: each training and evaluation starts "
                "from a copy of it as it was given"
            )
        if self.num_foreign:
            found.append(
                f"warning: the loss {loss} has a gradient for parameters that are not the model's "
                f"({self.num_foreign}), and no party trains them: make them parameters of the "
                "model, or set requires_grad_(False)"
            )
        if not self.repeats:
            found.append(
                "warning: the same rows gave another loss a second time: the model or its loss "
                "depends on a global name, an attribute of a class, or random numbers that are not "
                "torch's. Parties share these, so the curve depends on the number of workers; keep "
                "them as attributes of self, and draw with torch"
            )
        return found


def carried(
    copies: Sequence[nn.Module], train_on: Callable[[nn.Module, int], object]
) -> HiddenState:
    """Return the first values of the hidden state that training carries from batch to batch.

    copies: two copies of one module;  train_on: trains one on the first (0) or second (1) batch
    A value that a pass makes anew, such as a kept activation, is not carried. It is the same after
    the second batch whether the first one came before it or not.
    """
    first = HiddenState.of(copies[0])
    # A value whose copies already differ can't be compared.
    unsure = first.differing(HiddenState.of(copies[1])).values.keys()
    alone, after_other = [], []
    for position, module in enumerate(copies):
        weights = copied_state(module)
        train_on(module, position)
        alone.append(HiddenState.of(module))
        if not first.differing(alone[-1]):
            return HiddenState({})
        with torch.no_grad():
            _load(module, weights)
        train_on(module, 1 - position)
        after_other.append(HiddenState.of(module))
    found = [alone[i].differing(after_other[1 - i]) for i in (0, 1)]
    keys = {**found[0].values, **found[1].values}
    return first.within(HiddenState({key: keys[key] for key in keys if key not in unsure}))


def copied_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the tensors of a module's state dict."""
    found = module.state_dict()
    return {n: t.detach().clone() for n, t in found.items() if isinstance(t, Tensor)}


def _load(module: nn.Module, weights: dict[str, Tensor]) -> None:
    own = module.state_dict()
    for name, tensor in weights.items():
        own[name].copy_(tensor)


def _persistent(module: nn.Module) -> Iterator[Tensor]:
    for layer in module.modules():
        for name, buffer in layer._buffers.items():
            if buffer is not None and name not in layer._non_persistent_buffers_set:
                yield buffer


def _attributes(module: nn.Module) -> Iterator[tuple[tuple[str, str], Any]]:
    for path, layer in module.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):
            continue
        for name in layer._non_persistent_buffers_set & layer._buffers.keys():
            yield (path, name), layer._buffers[name]
        for name, value in vars(layer).items():
            if name not in _STANDARD and not isinstance(value, FunctionType | nn.Module):
                yield (path, name), value


def same(a: Any, b: Any, depth: int = 0) -> bool:
    """Return whether two values are equal, as far as that can be told."""
    if a is b or depth > _DEEPEST:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return same_numbers(a.detach(), b.detach())
    if isinstance(a, np.ndarray) and a.dtype != object:
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, torch.Generator):
        return torch.equal(a.get_state(), b.get_state())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], depth + 1) for key in a)
    if isinstance(a, list | tuple | deque):
        pairs = zip(a, b, strict=False)
        return len(a) == len(b) and all(same(*pair, depth + 1) for pair in pairs)
    if isinstance(a, int | float | complex | str | bytes | set | frozenset | None):
        return bool(a == b) or (a != a and b != b)
    if isinstance(a, type | ModuleType):
        return False
    return _same_parts(a, b, depth)


def same_numbers(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal, NaN among their numbers included."""
    if a.shape != b.shape or a.dtype != b.dtype or a.layout != torch.strided:
        return a.shape == b.shape and a.dtype == b.dtype
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _same_parts(a: Any, b: Any, depth: int) -> bool:
    try:
        parts = a.__reduce_ex__(4), b.__reduce_ex__(4)
    except Exception:  # it tells nothing of itself, as a lock
        return True
    if isinstance(parts[0], str):
        return bool(parts[0] == parts[1])
    listed = [
        [list(part) if isinstance(part, Iterator) else part for part in found] for found in parts
    ]
    return same(listed[0], listed[1], depth + 1)
