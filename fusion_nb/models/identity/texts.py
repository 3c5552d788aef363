"""The identity of a model, its loss and its optimizer as text, by which a resumed run knows them.

Texts hold no address of memory, and are the same in another process.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

#: Part (a layer, "loss", "optimizer") -> setting -> text. The setting `KIND` is the part's class.
Identity = Mapping[str, Mapping[str, str]]
KIND = "class"

#: Characters of a text, items of a collection, and objects inside objects that are looked at.
_MOST_CHARACTERS, _MOST_ITEMS, _DEEPEST = 60, 20, 3
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
#: The mark before a digest of a function's code, which another version of Python compiles anew.
_CODE = re.compile(r"#[0-9a-f]{8}\b")
#: Folders of packages: their functions are known by their names.
_INSTALLED = ("site-packages", "dist-packages", str(Path(__file__).parents[1]))
#: Attributes that training changes, or that say how an estimator works and not what it computes.
_NO_SETTINGS = frozenset({"training", "n_jobs", "verbose", "verbosity"})


def of_object(thing: Any) -> dict[str, str]:
    """Return an object's class, and its public attributes, as text."""
    return {KIND: _class_text(type(thing)), **of_settings(_attributes(thing))}


def of_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return named settings as text."""
    return {str(name): text(value) for name, value in settings.items() if name not in _NO_SETTINGS}


def of_parameters(estimator: Any) -> dict[str, str]:
    """Return the class and the parameters of an estimator that has `get_params`, as text."""
    found = {
        name: type(value) if hasattr(value, "get_params") else value
        for name, value in estimator.get_params().items()
        if name != "steps"
    }
    return {KIND: _class_text(type(estimator)), **of_settings(found)}


def of_choice(choice: Any) -> dict[str, str]:
    """Return a name, class, function or object that a user chose as text."""
    if isinstance(choice, str):
        return {KIND: choice}
    is_function = isinstance(choice, type | functools.partial) or inspect.isroutine(choice)
    return {KIND: text(choice)} if is_function else of_object(choice)


def without_code(found: str) -> str:
    """Return a text without the digests of functions' code."""
    return _CODE.sub("", found)


def text(value: Any, depth: int = _DEEPEST) -> str:
    """Return a value as a short text; a long one ends in its digest."""
    found = _full_text(value, depth)
    if len(found) <= _MOST_CHARACTERS:
        return found
    return f"{found[: _MOST_CHARACTERS - 12]}... ~{_digest(found.encode())}"


def _full_text(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int | float | complex | bytes):
        return repr(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, list | tuple | set | frozenset | Mapping):
        return _collection_text(value, depth)
    if isinstance(value, type):
        return _class_text(value)
    if inspect.ismodule(value):
        return value.__name__
    if isinstance(value, functools.partial):
        return f"{text(value.func, depth)}{_collection_text((value.args, value.keywords), depth)}"
    if inspect.isroutine(value):
        return _function_text(value, depth)
    if (array := _array_of(value)) is not None:
        return f"array {array.shape} {_digest(np.ascontiguousarray(array).tobytes())}"
    return _object_text(value, depth)


def _object_text(value: Any, depth: int) -> str:
    attributes = _attributes(value)
    if not attributes:
        # Such as torch.float32. The text of a class of the user's own may be anything.
        is_known = type(value).__module__.partition(".")[0] in ("torch", "numpy", "keras", "enum")
        return _ADDRESS.sub("", str(value)) if is_known else _class_text(type(value))
    if depth == 0:
        return _class_text(type(value))
    inner = ", ".join(f"{name}={text(each, depth - 1)}" for name, each in attributes.items())
    return f"{_class_text(type(value))}({inner})"


def _collection_text(value: Any, depth: int) -> str:
    if depth == 0:
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        items = [*value.items()][:_MOST_ITEMS]
        inner = [f"{text(key, depth - 1)}: {text(each, depth - 1)}" for key, each in items]
    elif isinstance(value, set | frozenset):
        inner = sorted(text(each, depth - 1) for each in value)[:_MOST_ITEMS]
    else:
        inner = [text(each, depth - 1) for each in value[:_MOST_ITEMS]]
    more = f", and {len(value) - _MOST_ITEMS} more" if len(value) > _MOST_ITEMS else ""
    return f"({', '.join(inner)}{more})"


def _array_of(value: Any) -> np.ndarray | None:
    """Return an array or a tensor of numbers as an array, or None for anything else."""
    if isinstance(value, type) or not hasattr(value, "__array__"):
        return None
    try:
        found = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except Exception:  # a tensor without values, or of a type that NumPy does not have
        return None
    return None if found.dtype.hasobject else found


def _attributes(thing: Any) -> dict[str, Any]:
    """Return an object's own public attributes but those that a fit sets, sorted by name."""
    try:
        found = vars(thing)
    except TypeError:
        return {}
    return {
        name: found[name]
        for name in sorted(found)
        if name.strip("_") == name and name not in _NO_SETTINGS
    }


def _class_text(kind: type) -> str:
    """Return the name of a class, with a digest of the code that is not an installed package's."""
    code = [
        part
        for base in kind.__mro__
        for name, method in vars(base).items()
        if not (name.startswith("__") and name != "__call__")
        for part in _code_of(method)
    ]
    return f"{kind.__qualname__}{_marked(code)}"


def _function_text(function: Any, depth: int) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    plain = inspect.unwrap(getattr(function, "__func__", function))
    held = [*(getattr(plain, "__defaults__", None) or ())]
    for cell in getattr(plain, "__closure__", None) or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # it is not filled yet
            continue
    code = _code_of(plain)
    inner = _collection_text(held, depth) if held and code and depth else ""
    return f"{name}{_marked(code)}{inner}"


def _code_of(function: Any) -> list[bytes]:
    """Return the code of a function of the user's own, and of those inside it."""
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if not isinstance(code, CodeType) or any(path in code.co_filename for path in _INSTALLED):
        return []
    return [*_parts(code, plain.__doc__)]


def _parts(code: CodeType, doc: str | None = None) -> Iterable[bytes]:
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if constant == doc and doc is not None:
            continue
        if isinstance(constant, CodeType):
            yield from _parts(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(map(repr, constant))).encode()
        else:
            yield repr(constant).encode()


def _marked(code: list[bytes]) -> str:
    return f"#{_digest(b'|'.join(code))}" if code else ""


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:8]
