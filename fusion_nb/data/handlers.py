"""Data handlers: found by name, class or module path, made in the way their constructor asks for,
and read.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_nb.core import registry
from fusion_nb.errors import DataError, NameNotFoundError, nearest


def find(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return the class that a handler's name stands for: in the notebook, registered, or
    `module:Class`.

    A registered one may have options: `20_newsgroup:quotes=no`.
    """
    if inspect.isclass(namespace.get(name)):
        return namespace[name]
    if name.partition(":")[0] in registry.names("datasets"):
        implementation, options = registry.bind("datasets", name)
        return functools.partial(implementation, **options) if options else implementation
    module, colon, attribute = name.rpartition(":")
    if not colon:
        return registry.get("datasets", name)
    loaded = _load_file(Path(module)) if module.endswith(".py") else _import(module)
    if not hasattr(loaded, attribute):
        known = [key for key, value in vars(loaded).items() if inspect.isclass(value)]
        raise NameNotFoundError(
            f"{module} has no class {attribute!r}",
            f"{nearest(attribute, known)}it has: {', '.join(known)}",
        )
    return getattr(loaded, attribute)


def read(handler: Any, path: str) -> tuple[Any, Any]:
    """Return the (train, test or None) that a handler reads, each a pair (x, y). `path` may be
    empty.
    """
    name = getattr(handler, "__name__", "") or handler.func.__name__
    parameters = [
        p
        for p in inspect.signature(handler).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if parameters and not path and parameters[0].default is parameters[0].empty:
        raise DataError(f"the data handler {name} needs a file", "give its path with --data")
    if parameters and parameters[0].name == "data_config":
        # The constructor of IBM's handlers: a dictionary that says where the file is.
        made = handler({"npz_file": path, "txt_file": path})
    else:
        made = handler(path) if parameters and path else handler()
    if not callable(getattr(made, "get_data", None)):
        raise DataError(
            f"the data handler {name} has no get_data()", "it returns ((x, y), (x_test, y_test))"
        )
    found = made.get_data()
    pairs = found if isinstance(found, tuple) else ()
    if len(pairs) != 2 or not all(
        pair is None or (isinstance(pair, tuple | list) and len(pair) == 2) for pair in pairs
    ):
        raise DataError(
            f"{name}.get_data() did not return two pairs",
            "return ((x_train, y_train), (x_test, y_test)); the second may be None",
        )
    train, test = (None if pair is None else tuple(pair) for pair in pairs)
    return train, test


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # something that the user's own module imports is missing: that is theirs to see
        hint = "write the handler as package.module:Class or folder/file.py:Class"
        raise NameNotFoundError(f"there is no module {module!r}", hint) from None


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise NameNotFoundError(f"there is no file {path}", f"the current folder is {Path.cwd()}")
    # A name of its own, or a handler called utils.py would replace a module of that name.
    spec = importlib.util.spec_from_file_location(f"fusion_nb_handler_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
