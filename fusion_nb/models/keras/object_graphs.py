"""Independent copies of a Keras model as a graph of objects: no constructor is called again."""

from __future__ import annotations

import copy
import importlib
import inspect
import types
from typing import Any

import keras
import numpy as np

#: Objects of these packages are shared with the copy, unless a rule below copies them.
_SHARED_PACKAGES = ("tensorflow", "jax", "jaxlib", "numpy")
_PLAIN = (str, bytes, int, float, complex, type, types.ModuleType, inspect.Signature)
_CONTAINERS: tuple[type, ...] = (dict, list, set)


class GraphCopy:
    """Copies everything that can be reached from a model: layers, variables, nodes, closures.

    Two paths to one object lead to one copy. A function that closes over a layer, or that is bound
    to one, becomes a function of that layer's copy. Classes, functions without such a layer, and
    objects without attributes (locks, files) are shared.

    left_out: objects that the copy has None for
    """

    def __init__(self, left_out: list[Any]) -> None:
        self._copies: dict[int, Any] = {id(thing): None for thing in left_out}
        # An id is only good for as long as its object lives.
        self._kept: list[Any] = list(left_out)

    def copied(self, thing: Any) -> Any:
        """Return the copy of a thing, or the thing itself where it is shared."""
        if thing is None or isinstance(thing, _PLAIN):
            return thing
        if id(thing) in self._copies:
            return self._copies[id(thing)]
        if isinstance(thing, tuple | frozenset):
            return self._note(thing, self._of_fixed(thing))
        if isinstance(thing, types.FunctionType):
            return self._of_function(thing)
        if isinstance(thing, types.MethodType):
            return self._note(
                thing, types.MethodType(self.copied(thing.__func__), self.copied(thing.__self__))
            )
        return self._of_object(thing)

    def _note(self, thing: Any, made: Any) -> Any:
        self._copies[id(thing)] = made
        self._kept.append(thing)
        return made

    def _of_fixed(self, thing: Any) -> Any:
        items = [self.copied(item) for item in thing]
        if all(new is old for new, old in zip(items, thing, strict=True)):
            return thing
        return type(thing)(*items) if hasattr(thing, "_fields") else type(thing)(items)

    def _of_function(self, function: types.FunctionType) -> Any:
        cells = function.__closure__ or ()
        if not cells:
            return function
        # Noted before its cells are filled, since a function may close over itself.
        fresh = tuple(types.CellType() for _ in cells)
        made = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, fresh
        )
        made.__kwdefaults__, made.__qualname__ = function.__kwdefaults__, function.__qualname__
        made.__doc__, made.__module__ = function.__doc__, function.__module__
        self._note(function, made)
        made.__dict__.update(self.copied(dict(function.__dict__)))
        is_same = True
        for new, old in zip(fresh, cells, strict=True):
            try:
                content = old.cell_contents
            except ValueError:  # a cell that is still empty
                continue
            new.cell_contents = self.copied(content)
            is_same &= new.cell_contents is content
        return self._note(function, function) if is_same else made

    def _of_object(self, thing: Any) -> Any:
        if (array := _array_copy(thing)) is not None:
            return self._note(thing, array)
        package = type(thing).__module__.partition(".")[0]
        is_empty = not hasattr(thing, "__dict__") and not _slots(thing)
        if not isinstance(thing, _CONTAINERS) and (package in _SHARED_PACKAGES or is_empty):
            return thing
        base: Any = next((kind for kind in _CONTAINERS if isinstance(thing, kind)), object)
        try:
            made = base.__new__(type(thing))
        except TypeError:  # a class of C code, whose objects only its own constructor makes
            return self._note(thing, copy.deepcopy(thing))
        self._note(thing, made)
        self._fill(thing, made)
        # Keras's own __setattr__ would track each value a second time.
        for name, value in vars(thing).items() if hasattr(thing, "__dict__") else ():
            vars(made)[name] = self.copied(value)
        for name, value in _slots(thing).items():
            object.__setattr__(made, name, self.copied(value))
        self._renew_ids(made)
        return made

    def _renew_ids(self, made: Any) -> None:
        """Write the ids of the copies where Keras keeps objects by their ids."""
        if isinstance(getattr(made, "stored_ids", None), dict):
            made.stored_ids = {
                name: {id(item) for item in store} for name, (_, store) in made.config.items()
            }
        if isinstance(made, keras.Function | keras.Model) and "_nodes" in vars(made):
            keys = (key.partition("_") for key in made._nodes)
            vars(made)["_nodes"] = {
                f"{id(self._copies[int(number)])}_{rest}" for number, _, rest in keys
            }

    def _fill(self, thing: Any, made: Any) -> None:
        """Copy the items of a container, past methods of its own that keep accounts of them."""
        if isinstance(thing, dict):
            for key, value in thing.items():
                dict.__setitem__(made, self.copied(key), self.copied(value))
        elif isinstance(thing, list):
            for item in thing:
                list.append(made, self.copied(item))
        elif isinstance(thing, set):
            for item in thing:
                set.add(made, self.copied(item))


def copied(model: keras.Model) -> keras.Model:
    """Return an independent, uncompiled copy of a model, with its weights, by its objects."""
    names = ("optimizer", "_compile_loss", "_compile_metrics", "_loss_tracker", "_compile_config")
    functions = ("train_function", "test_function", "predict_function", "_compiled_trainable_state")
    left_out = [
        value for name in (*names, *functions) if (value := model.__dict__.get(name)) is not None
    ]
    other: keras.Model = GraphCopy(left_out).copied(model)
    other.compiled = False
    return other


def _array_copy(thing: Any) -> Any:
    """Return a copy of an array or of the backend's variable, or None for anything else."""
    if isinstance(thing, np.ndarray | np.random.Generator | np.random.RandomState):
        return copy.deepcopy(thing)
    module = type(thing).__module__
    if module.startswith("torch"):
        import torch

        if isinstance(thing, torch.nn.Parameter):
            return torch.nn.Parameter(thing.detach().clone(), thing.requires_grad)
        return thing.detach().clone() if isinstance(thing, torch.Tensor) else None
    if module.startswith("tensorflow"):
        tf: Any = importlib.import_module("tensorflow")

        if isinstance(thing, tf.Variable):
            return tf.Variable(thing, trainable=thing.trainable, name=thing.name.split(":")[0])
    return None


def _slots(thing: Any) -> dict[str, Any]:
    """Return the attributes that an object keeps in slots."""
    found = {}
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
                found[name] = getattr(thing, name)
    return found
