"""Data handlers: classes that read a data set, found by name, by class or by module path."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from fusion_nb.core import registry
from fusion_nb.errors import DataError, NameNotFoundError, nearest, option

#: The kinds of rows: arrays of numbers, or documents of words. A model takes one of them.
Kind = Literal["numbers", "documents"]
#: Rows and labels `(x, y)`; the labels of documents may be None.
Pair = tuple[Any, Any]


class DataHandler(ABC):
    """A data set that a run reads by name: `--data name`, or `--data-handler name --data path`.

    kind: whether x is numbers or documents; a model is offered data of its own kind

    A constructor with one parameter is given the path in `--data`; keyword-only parameters are
    options, as in `--data 20_newsgroup:quotes=no`. Any class with `get_data()` is read, whether it
    derives from this one or not; without `kind` it is taken for numbers.

    >>> import numpy as np
    >>> @dataset(name="coins")
    ... class Coins(DataHandler):
    ...     def get_data(self):
    ...         x = np.array([[0.2], [0.9], [0.1], [0.8]])
    ...         return (x, np.array([0, 1, 0, 1])), None
    >>> train, test = read(find("coins", {}), path="")
    >>> train[0].shape, test
    ((4, 1), None)
    """

    kind: ClassVar[Kind] = "numbers"

    @abstractmethod
    def get_data(self) -> tuple[Pair, Pair | None]:
        """Return `((x_train, y_train), (x_test, y_test))`; the second is None without test rows."""


@runtime_checkable
class _HasData(Protocol):
    def get_data(self) -> Any: ...


def kind_of(handler: Any) -> Kind:
    """Return the kind of rows that the class of a data handler declares."""
    is_declared = inspect.isclass(handler) and issubclass(handler, DataHandler)
    return handler.kind if is_declared else "numbers"


def find(name: str, namespace: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the class of a data handler: one of the notebook, a registered one or `module:Class`.

    A registered one may have options: `20_newsgroup:quotes=no`.
    """
    in_notebook = namespace.get(name)
    if inspect.isclass(in_notebook):
        return in_notebook
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
            option="data_handler",
            value=name,
            allowed=known,
        )
    found: Callable[..., Any] = getattr(loaded, attribute)
    return found


def read(handler: Callable[..., Any], path: str) -> tuple[Pair, Pair | None]:
    """Return the training and test rows that a data handler reads, the second None without any.

    path: of its file; may be empty. Raises DataError for a handler that needs one, or that returns
    something else than pairs.
    """
    name = _name(handler)
    made = _make(handler, name, path)
    if not isinstance(made, _HasData):
        raise DataError(
            f"the data handler {name} has no get_data()", "it returns ((x, y), (x_test, y_test))"
        )
    found = made.get_data()
    if not isinstance(found, tuple) or len(found) != 2 or not _is_pair(found[0]):
        raise _wrong_pairs(name)
    train, test = found
    if test is None:
        return tuple(train), None
    if not _is_pair(test):
        raise _wrong_pairs(name)
    return tuple(train), tuple(test)


def _make(handler: Callable[..., Any], name: str, path: str) -> Any:
    positional = [
        parameter
        for parameter in inspect.signature(handler).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    first = positional[0] if positional else None
    if first is None:
        return handler()
    if not path and first.default is first.empty:
        raise DataError(
            f"the data handler {name} needs a file", f"give its path with {option('data')}"
        )
    if first.name == "data_config":
        # The constructor of IBM's handlers: a dictionary that says where the file is.
        return handler({"npz_file": path, "txt_file": path})
    return handler(path) if path else handler()


def _name(handler: Callable[..., Any]) -> str:
    plain = handler.func if isinstance(handler, functools.partial) else handler
    return str(plain.__name__)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def _wrong_pairs(name: str) -> DataError:
    return DataError(
        f"{name}.get_data() did not return two pairs",
        "return ((x_train, y_train), (x_test, y_test)); the second may be None",
    )


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # a module that the user's own module imports is missing: the user must see that
        hint = "write the handler as package.module:Class or folder/file.py:Class"
        raise NameNotFoundError(
            f"there is no module {module!r}", hint, option="data_handler"
        ) from None


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise NameNotFoundError(
            f"there is no file {path}",
            f"the current folder is {Path.cwd()}",
            option="data_handler",
        )
    # A name of its own, or a handler called utils.py would replace a module of that name.
    spec = importlib.util.spec_from_file_location(f"fusion_nb_handler_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


dataset = registry.decorator("datasets")
dataset.__doc__ = (
    """Register a data handler under its own name, for `--data name` or `--data-handler name`."""
)
