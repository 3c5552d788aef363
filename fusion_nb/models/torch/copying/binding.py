"""Callables of the user's that refer to a module, bound to a copy of it instead.

A loss with a penalty on the notebook's `model`, or a hook that closes over it, would act on an
object that no party trains.
"""

from __future__ import annotations

import copy
import dis
import functools
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor

#: Objects that are looked at to learn whether a callable refers to a module.
_MOST = 10_000
#: Packages whose functions refer to no object of a notebook.
_FOREIGN = frozenset({*sys.stdlib_module_names, "torch", "numpy"}) - {"__main__"}
#: Objects that lead to everything: in a notebook the stream of a log holds all of its variables.
_NOT_FOLLOWED = (type, ModuleType, Tensor, logging.Filterer, io.IOBase)
_CONTAINERS = (list, tuple, dict, set, frozenset)


class Binder:
    """Binds objects that refer to the parts of a module to the same parts of its copy.

    memo: id of each original -> its copy, as `deepcopy` fills it
    """

    def __init__(self, memo: dict[int, Any]) -> None:
        # The entry of this key keeps the originals alive, so that no id is used again.
        self._kept = memo.pop(id(memo), None)
        self._memo = memo

    def bound(self, value: Any) -> Any:
        """Return a value that refers to the copy; the value itself where it refers to neither.

        A function that assigns to global names is not bound: it would no longer do so.
        """
        return self._new(value, {}) if self.refers(value) else value

    def refers(self, value: Any) -> bool:
        """Return whether a value refers to a part of the original."""
        waiting, seen = [value], set[int]()
        while waiting and len(seen) < _MOST:
            found = waiting.pop()
            if id(found) in seen:
                continue
            seen.add(id(found))
            if self._memo.get(id(found), found) is not found:
                return True
            waiting.extend(_parts(found))
        return False

    def _new(self, value: Any, made: dict[int, Any]) -> Any:
        if id(value) in self._memo:
            return self._memo[id(value)]
        if id(value) in made:
            return made[id(value)]
        if not self.refers(value):
            return value
        if isinstance(value, FunctionType):
            return self._function(value, made)
        if isinstance(value, MethodType):
            return MethodType(self._new(value.__func__, made), self._new(value.__self__, made))
        if isinstance(value, functools.partial):
            function, args, named = (
                self._new(part, made) for part in (value.func, value.args, value.keywords)
            )
            return type(value)(function, *args, **named)
        if isinstance(value, dict):
            entries: Any = {key: self._new(entry, made) for key, entry in value.items()}
            return _like(value, entries)
        if isinstance(value, _CONTAINERS):
            return _like(value, [self._new(entry, made) for entry in value])
        return self._object(value, made)

    def _object(self, value: Any, made: dict[int, Any]) -> Any:
        other = copy.copy(value)
        made[id(value)] = other
        for name, entry in vars(value).items():
            vars(other)[name] = self._new(entry, made)
        return other

    def _function(self, function: FunctionType, made: dict[int, Any]) -> Any:
        if _assigns_globals(function.__code__):
            return function
        cells = function.__closure__ or ()
        fresh = tuple(CellType() if self.refers(_content(cell)) else cell for cell in cells)
        named = {name: value for name, value in _globals_of(function).items() if self.refers(value)}
        space: Any = _Namespace(function.__globals__) if named else function.__globals__
        other = FunctionType(
            function.__code__, space, function.__name__, function.__defaults__, fresh or None
        )
        made[id(function)] = other
        for old, new in zip(cells, fresh, strict=True):
            if new is not old:
                new.cell_contents = self._new(old.cell_contents, made)
        if named:
            space.update({name: self._new(value, made) for name, value in named.items()})
        other.__defaults__ = self._new(function.__defaults__, made)
        other.__kwdefaults__ = self._new(function.__kwdefaults__, made)
        other.__dict__.update(function.__dict__)
        other.__module__, other.__qualname__ = function.__module__, function.__qualname__
        return other


class _Namespace(dict[str, Any]):
    """The globals of a function, with some names that are its own."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        super().__init__()
        self._base = base

    def __missing__(self, name: str) -> Any:
        return self._base[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._base

    def __reduce__(self) -> Any:
        return _Namespace, (dict(self._base),), None, None, iter(self.items())


def _like(value: Any, entries: Any) -> Any:
    """Return entries in a container of the same type, where that is made of its entries."""
    kind = type(value)
    if kind in _CONTAINERS:
        return kind(entries)
    if hasattr(value, "_make"):
        return kind._make(entries)
    other = copy.copy(value)
    if isinstance(value, dict):
        other.update(entries)
    return other


def _parts(value: Any) -> Iterator[Any]:
    """Yield the objects that a value refers to."""
    if isinstance(value, FunctionType):
        if (value.__module__ or "").partition(".")[0] in _FOREIGN:
            return
        yield from (_content(cell) for cell in value.__closure__ or ())
        yield from (value.__defaults__, value.__kwdefaults__, value.__dict__)
        yield from _globals_of(value).values()
    elif isinstance(value, MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, _CONTAINERS):
        yield from value
    elif not isinstance(value, _NOT_FOLLOWED):
        yield from getattr(value, "__dict__", {}).values()


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is filled later
        return None


def _globals_of(function: FunctionType) -> dict[str, Any]:
    """Return the global names that a function's code reads, with their values."""
    space = function.__globals__
    return {name: space[name] for name in _names(function.__code__) if name in space}


def _names(code: CodeType) -> set[str]:
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return {*code.co_names}.union(*map(_names, inner))


def _assigns_globals(code: CodeType) -> bool:
    names = {step.opname for step in dis.get_instructions(code)}
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return bool(names & {"STORE_GLOBAL", "DELETE_GLOBAL"}) or any(map(_assigns_globals, inner))
