"""From what a user calls data (a variable, a file, a name) to arrays, before they are divided among parties."""

from __future__ import annotations

import glob
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb import data, registry
from fusion_nb.errors import DataError, NameNotFoundError, nearest

#: Whole-numbered floats with at most this many different values are read as classes.
_MAX_FLOAT_CLASSES = 100
_LABEL_COLUMNS = ("label", "target", "y", "class")


@dataclass(frozen=True)
class Source:
    """A federation's data before it is divided: one pool, or one pair (train, test) for each party."""

    train: Any = None
    test: Any = None
    parties: Mapping[str, tuple[Any, Any]] | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(text: str, namespace: Mapping[str, Any], *, handler: str = "", label: str = "", key: str = "") -> Source:
    """Return the data that `text` names: a variable, a registered set, an `.npz` file, or several (comma or `*`).

    handler: class with `get_data()` to read it with: a registered name, a class in the namespace, or `module:Class`
    label, key: columns of a DataFrame that hold the label, and the id to divide by
    Raises DataError or NameNotFoundError before anything is trained.
    """
    if handler:
        return _from_handler(_find_handler(handler, namespace), text)
    if text in namespace:
        shadowed = text in registry.names("datasets")
        note = (f"data: your variable {text!r}, not the set of that name",) if shadowed else ()
        return _from_object(namespace, text, label, key, note)
    if text in registry.names("datasets"):
        return _from_handler(registry.get("datasets", text), "")
    paths = [path for part in text.split(",") for path in (sorted(glob.glob(part)) or [part])]
    if all(path.endswith(".npz") for path in paths):
        pairs = {Path(path).stem: registry.get("datasets", "npz")(path).get_data() for path in paths}
        if len(paths) == 1:
            return _pool(*pairs[Path(paths[0]).stem], name=text)
        if len(pairs) < len(paths):
            raise DataError("two of the files have the same name, and parties are named by file", "rename one of them")
        return _already_split(pairs)
    known = [*registry.names("datasets"), *(n for n, value in namespace.items() if looks_like_data(n, value))]
    raise NameNotFoundError(
        f"--data {text!r} is neither a variable, nor a known data set, nor an .npz file",
        f"{nearest(text, known)}there are: {', '.join(known)}",
    )


def _find_handler(name: str, namespace: Mapping[str, Any]) -> Any:
    if inspect.isclass(namespace.get(name)):
        return namespace[name]
    module, colon, attribute = name.rpartition(":")
    if not colon:
        return registry.get("datasets", name)
    try:
        if module.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(module).stem, module)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            loaded = importlib.import_module(module)
        return getattr(loaded, attribute)
    except (FileNotFoundError, ModuleNotFoundError, AttributeError) as error:
        raise NameNotFoundError(
            f"--data-handler {name!r}: {error}", "write it as package.module:Class or folder/file.py:Class"
        ) from error


def _from_handler(handler: Any, path: str) -> Source:
    """Make the handler in the way its constructor asks for, and read it."""
    parameters = [
        p
        for p in inspect.signature(handler).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if parameters and parameters[0].name == "data_config":
        # The constructor of IBM's handlers: a dictionary that says where the file is.
        made = handler({"npz_file": path, "txt_file": path})
    else:
        made = handler(path) if parameters and path else handler()
    if not callable(getattr(made, "get_data", None)):
        raise DataError(
            f"the data handler {handler.__name__} has no get_data()", "it returns ((x, y), (x_test, y_test))"
        )
    found = made.get_data()
    if not (isinstance(found, tuple) and len(found) == 2):
        raise DataError(
            f"{handler.__name__}.get_data() returned {type(found).__name__}, not two pairs",
            "return ((x_train, y_train), (x_test, y_test))",
        )
    return _pool(*found, name=path or handler.__name__)


def _from_object(namespace: Mapping[str, Any], name: str, label: str, key: str, notes: tuple[str, ...]) -> Source:
    value = namespace[name]
    if isinstance(value, list):  # a list is parties, a tuple is one data set
        return _already_split({f"party {i + 1}": _pair(part, name, label) for i, part in enumerate(value)})
    if isinstance(value, dict) and {"x_train", "y_train"} <= value.keys():
        test = (value["x_test"], value["y_test"]) if {"x_test", "y_test"} <= value.keys() else None
        return _pool((value["x_train"], value["y_train"]), test, name=name, notes=notes)
    if isinstance(value, dict) and {"data", "target"} <= value.keys():  # scikit-learn's Bunch
        return _pool((value["data"], value["target"]), None, name=name, notes=notes)
    if isinstance(value, dict):
        return _already_split({str(party): _pair(part, name, label) for party, part in value.items()})
    if _is_frame(value):
        if key and key not in value.columns and key not in namespace:
            raise _no_column(key, [str(column) for column in value.columns])
        train, chosen = _frame_pair(value, name, label, drop=key)
        columns = {str(column): value[column].to_numpy() for column in value.columns}
        return _pool(train, None, name=name, columns=columns, notes=(*notes, f"label: the column {chosen!r}"))
    return _pool(*_pair(value, name, label), name=name, notes=notes)


def _pair(value: Any, name: str, label: str) -> tuple[Any, Any]:
    """Return (train, test or None) from one data set in any of the forms that a notebook holds."""
    if _is_frame(value):
        return _frame_pair(value, name, label)[0], None
    if isinstance(value, tuple) and len(value) == 2:
        nested = all(isinstance(part, tuple) and len(part) == 2 for part in value)
        return (value[0], value[1]) if nested else (value, None)
    if isinstance(value, tuple) and len(value) == 4:
        raise DataError(f"--data {name!r} holds four arrays", "write it as ((x_train, y_train), (x_test, y_test))")
    if hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, np.ndarray | str):
        return value, None
    raise DataError(
        f"--data {name!r} is {type(value).__name__}, which holds no rows with labels",
        "give (x, y), ((x_train, y_train), (x_test, y_test)), a DataFrame, a Dataset, or a list of these for parties",
    )


def _pool(train: Any, test: Any, *, name: str, **more: Any) -> Source:
    train, classes = _clean(train, f"{name} (training rows)")
    if test is not None:
        test, _ = _clean(test, f"{name} (test rows)", classes)
    return Source(train=train, test=test, classes=classes, **more)


def _already_split(pairs: Mapping[str, tuple[Any, Any]]) -> Source:
    if not pairs:
        raise DataError("the list of parties' data sets is empty", "give one data set for each party")
    # Text labels must mean the same number at every party, also where a party lacks a class.
    texts = [_array(train[1], "y") for train, _ in pairs.values() if isinstance(train, tuple)]
    words = sorted({str(word) for y in texts if _is_text(y) for word in y})
    cleaned = {}
    for party, (train, test) in pairs.items():
        rows, _ = _clean(train, party, tuple(words))
        cleaned[party] = (rows, None if test is None else _clean(test, f"{party} (test rows)", tuple(words))[0])
    shapes = {party: np.shape(rows[0])[1:] for party, (rows, _) in cleaned.items() if isinstance(rows, tuple)}
    first = next(iter(shapes.items()), ("", ()))
    for party, shape in shapes.items():
        if shape != first[1]:
            raise DataError(
                f"rows of {party} have shape {shape}, those of {first[0]} {first[1]}", "give all the same form"
            )
    return Source(parties=cleaned, classes=tuple(words))


def _clean(rows: Any, where: str, classes: tuple[str, ...] = ()) -> tuple[Any, tuple[str, ...]]:
    """Return rows as arrays of numbers, and the names of classes where labels were text."""
    if hasattr(rows, "tensors") and len(rows.tensors) == 2:  # torch's TensorDataset: its arrays are faster to slice
        rows = rows.tensors
    if not isinstance(rows, tuple):
        if not len(rows):
            raise DataError(f"{where}: there are no rows", "give at least two")
        return rows, classes
    x, y = _array(rows[0], f"{where}, x"), _array(rows[1], f"{where}, y")
    if len(x) != len(y):
        raise DataError(f"{where}: {len(x)} rows but {len(y)} labels", "x and y need the same length")
    if not len(x):
        raise DataError(f"{where}: there are no rows", "give at least two")
    if _is_text(y):
        y, classes = _encode(y, where, classes)
    elif np.issubdtype(y.dtype, np.floating) and y.size and bool((y == np.rint(y)).all()):
        y = y.astype(np.int64) if len(np.unique(y)) <= _MAX_FLOAT_CLASSES else y
    elif data.is_classes(y):
        y = y.astype(np.int64)
    for column, values in (("x", x), ("y", y)):
        if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_):
            raise DataError(f"{where}: {column} holds {values.dtype}, not numbers", "turn it into numbers first")
        if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise DataError(f"{where}: {column} holds {bad} NaN or infinite values", "fill or drop those rows first")
    return (x, y), classes


def _encode(y: np.ndarray, where: str, classes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    names = classes or tuple(sorted({str(word) for word in y}))
    number = {word: i for i, word in enumerate(names)}
    unknown = {str(word) for word in y} - number.keys()
    if unknown:
        raise DataError(f"{where}: the label {min(unknown)!r} does not occur in the training rows", "check the labels")
    return np.array([number[str(word)] for word in y], dtype=np.int64), names


def _array(values: Any, where: str) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor, also one that records gradients or sits on another device
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"{where}: rows are of different lengths", "pad them to one shape first") from error


def _is_text(y: np.ndarray) -> bool:
    return y.dtype.kind in "UST" or (y.dtype == object and all(isinstance(word, str) for word in y))


def _is_frame(value: Any) -> bool:
    return type(value).__name__ == "DataFrame" and hasattr(value, "to_numpy")


def _frame_pair(frame: Any, name: str, label: str, drop: str = "") -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """Return ((x, y), label column) of a DataFrame: every other numeric column is a feature."""
    columns = [str(column) for column in frame.columns]
    chosen = label or next((c for c in _LABEL_COLUMNS if c in columns), "")
    if chosen not in columns:
        which = f"no column {chosen!r}" if chosen else "no column that is plainly the label"
        raise DataError(
            f"the DataFrame {name!r} has {which}",
            f"{nearest(chosen, columns)}add --label COLUMN; its columns are: {', '.join(columns)}",
        )
    features = frame.drop(columns=[chosen, *([drop] if drop in columns else [])])
    words = [str(c) for c in features.columns if features[c].dtype.kind not in "biuf"]
    if words:
        raise DataError(
            f"the DataFrame {name!r} has columns that are not numbers: {', '.join(words)}",
            "drop them or encode them first, with pandas.get_dummies say",
        )
    return (features.to_numpy(dtype=np.float32), frame[chosen].to_numpy()), chosen


def looks_like_data(name: str, value: Any) -> bool:
    """Return whether a variable holds something that can be divided among parties, judged by its type."""
    if name.startswith("_") or inspect.isclass(value) or inspect.ismodule(value):
        return False
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(hasattr(part, "shape") for part in value)
    return _is_frame(value) or is_pair or any(t.__module__.startswith("torch.utils.data") for t in type(value).__mro__)


def column(source: Source, name: str, namespace: Mapping[str, Any]) -> np.ndarray:
    """Return one value for each row, from a column of the data or a variable of that name."""
    if name in source.columns:
        return source.columns[name]
    if name in namespace:
        return _array(namespace[name], name)
    raise _no_column(name, list(source.columns))


def _no_column(name: str, columns: list[str]) -> NameNotFoundError:
    return NameNotFoundError(
        f"there is no column and no variable {name!r} to divide by",
        f"{nearest(name, columns)}columns: {', '.join(columns)}" if columns else "give the name of an array of ids",
    )
