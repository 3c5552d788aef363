"""Copies of a user's module, also where Python's `deepcopy` refuses something that it keeps."""

from __future__ import annotations

import copy
import functools
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.copying.binding import Binder
from fusion_nb.models.torch.copying.parameter_hooks import ParameterHooks

_LOCKS = {type(make()): make for make in (threading.Lock, threading.RLock)}
_HINT = "keep it outside the model, or make it in forward(); or give its class a __deepcopy__"


@dataclass(frozen=True)
class Duplicate:
    """A copy of a module, and what binds other objects to it."""

    module: nn.Module
    binder: Binder


def copied(module: nn.Module) -> nn.Module:
    """Return a copy of a module. Raises ModelError, naming an attribute that can't be copied."""
    return duplicate(module).module


def duplicate(module: nn.Module) -> Duplicate:
    """Return a copy of a module, whose hooks and replaced methods act on the copy.

    Tensors that were computed with gradients, such as kept activations, are copied without them.
    Raises ModelError, naming an attribute that can't be copied.
    """
    memo: dict[int, Any] = {}
    try:
        found = copy.deepcopy(module, memo)
    except Exception:  # of the user's classes, and of what they keep
        memo = _of_special(module)
        try:
            found = copy.deepcopy(module, memo)
        except Exception as error:
            raise _refusal(module, error) from error
    shared = {id(p) for p in module.parameters()} & {id(p) for p in found.parameters()}
    if shared:
        raise ModelError(
            f"the model can't be copied for the parties: a copy of {type(module).__name__} shares "
            "parameters with it",
            "let its __deepcopy__ return new parameters, or leave it out",
        )
    for tensor in found.parameters():
        if not tensor.is_leaf:  # as in a copy of a scripted module
            tensor.detach_().requires_grad_()
    binder = Binder(memo)
    for layer in found.modules():
        _bind(layer, binder)
    ParameterHooks(module).give(found, binder.bound)
    return Duplicate(found, binder)


def duplicated_value(value: Any, shared: dict[int, Any]) -> Any:
    """Return a copy of a value that a module keeps; the value itself where none can be made.

    shared: id of each object that is not copied -> the object
    """
    memo = dict(shared)
    try:
        return copy.deepcopy(value, memo)
    except Exception:
        memo = _of_special(value) | shared
    try:
        return copy.deepcopy(value, memo)
    except Exception:
        return value


def _bind(layer: nn.Module, binder: Binder) -> None:
    """Bind functions that a layer holds, such as hooks, where they refer to the original."""
    for name, value in vars(layer).items():
        if isinstance(value, dict) and name.endswith("_hooks"):
            for key, hook in value.items():
                value[key] = binder.bound(hook)
        elif isinstance(value, FunctionType | MethodType):
            vars(layer)[name] = binder.bound(value)


def _of_special(root: Any) -> dict[int, Any]:
    """Return the copies of all that `deepcopy` refuses and that can be copied in another way."""
    found: dict[int, Any] = {}
    for _, value in _reachable(root):
        if isinstance(value, Tensor) and not value.is_leaf:
            found[id(value)] = value.detach().clone()
        elif isinstance(value, UninitializedBuffer):
            make: Any = UninitializedBuffer
            found[id(value)] = make(device=value.device, dtype=value.dtype)
        elif lock := _LOCKS.get(type(value)):
            found[id(value)] = lock()
        elif isinstance(value, ModuleType):
            found[id(value)] = value
    return found


def _refusal(module: nn.Module, error: Exception) -> ModelError:
    """Return the error that names the innermost attribute that can't be copied."""
    special = _of_special(module)
    culprit, reason = type(module).__name__, _reason(error)
    for path, value in _reachable(module):
        refused = _refused(value, special)
        if refused and not any(_refused(part, special) for _, part in _inside(path, value)):
            culprit, reason = f"its attribute {path!r} is a {type(value).__name__}", refused
            break
    return ModelError(
        f"the model can't be copied for the parties: {culprit} ({reason})",
        _HINT,
    )


def _refused(value: Any, special: dict[int, Any]) -> str:
    """Return why a value can't be copied, or ""."""
    try:
        copy.deepcopy(value, dict(special))
    except Exception as error:
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _reachable(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield all values that an object holds, each once with its path, the outer ones first."""
    waiting: deque[tuple[str, Any]] = deque([("", root)])
    seen: set[int] = set()
    while waiting:
        path, value = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield path, value
        waiting.extend(_inside(path, value))


def _inside(path: str, value: Any) -> list[tuple[str, Any]]:
    start = f"{path}." if path else ""
    if isinstance(value, nn.Module):
        groups = ("_parameters", "_buffers", "_modules")
        own = {name: entry for name, entry in vars(value).items() if name not in groups}
        for group in groups:
            own |= vars(value).get(group, {})
        return [(f"{start}{name}", entry) for name, entry in own.items()]
    if isinstance(value, dict):
        return [(f"{path}[{key!r}]", entry) for key, entry in value.items()]
    if isinstance(value, list | tuple | deque | set | frozenset):
        return [(f"{path}[{i}]", entry) for i, entry in enumerate(value)]
    if isinstance(value, type | ModuleType | FunctionType | Tensor | torch.dtype):
        return []
    if isinstance(value, MethodType):
        return [(path, value.__self__)]
    if isinstance(value, functools.partial):
        return [(path, part) for part in (value.func, value.args, value.keywords)]
    return [(f"{start}{name}", entry) for name, entry in getattr(value, "__dict__", {}).items()]
