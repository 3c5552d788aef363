"""From what a user calls data (a variable, a file, a name) to arrays, before they are divided among
parties.
"""

from __future__ import annotations

import glob
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core import registry
from fusion_nb.data import arrays, handlers, texts
from fusion_nb.errors import DataError, NameNotFoundError, nearest

_LABEL_COLUMNS = ("label", "target", "y", "class")


_KINDS = ("train", "test")


@dataclass(frozen=True)
class Source:
    """A federation's data before it is divided: one pool, or one pair (train, test) for each party.

    labels: of each data set, decoded, by (party, "train" or "test"); the party of a pool is ""
    """

    train: Any = None
    test: Any = None
    parties: Mapping[str, tuple[Any, Any]] | None = None
    labels: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(
    text: str, namespace: Mapping[str, Any], *, handler: str = "", label: str = "", key: str = ""
) -> Source:
    """Return the data that `text` names: a variable, a registered set, an `.npz` file, or several
    (comma or `*`).

    handler: class with `get_data()` to read it with: a registered name, a class in the namespace,
    or `module:Class`
    label, key: columns of a DataFrame that hold the label, and the id to divide by
    Raises DataError or NameNotFoundError before anything is trained.
    """
    if handler:
        # "digits" is what the option says when nobody gave it, and no handler's path.
        return _pool(
            *handlers.read(handlers.find(handler, namespace), "" if text == "digits" else text),
            name=handler,
        )
    if text in namespace:
        shadowed = text in registry.names("datasets")
        note = (f"data: your variable {text!r}, not the set of that name",) if shadowed else ()
        return _from_object(namespace, text, label, key, note)
    if text.partition(":")[0] in registry.names("datasets"):
        return _pool(*handlers.read(handlers.find(text, {}), ""), name=text)
    paths = [
        path
        for part in text.split(",")
        for path in (sorted(glob.glob(part.strip())) or [part.strip()])
    ]
    if all(path.endswith(".npz") for path in paths):
        pairs = {
            Path(path).stem: registry.get("datasets", "npz")(path).get_data() for path in paths
        }
        if len(paths) == 1:
            return _pool(*pairs[Path(paths[0]).stem], name=text)
        if len(pairs) < len(paths):
            raise DataError(
                "two of the files have the same name, and parties are named by file",
                "rename one of them",
            )
        return _already_split(pairs)
    known = [
        *registry.names("datasets"),
        *(n for n, value in namespace.items() if looks_like_data(n, value)),
    ]
    raise NameNotFoundError(
        f"--data {text!r} is neither a variable, nor a known data set, nor an .npz file",
        f"{nearest(text, known)}there are: {', '.join(known)}",
    )


def _from_object(
    namespace: Mapping[str, Any], name: str, label: str, key: str, notes: tuple[str, ...]
) -> Source:
    value = namespace[name]
    if texts.holds_documents(value) and not isinstance(value, tuple):
        return _pool((value, None), None, name=name, notes=notes)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], dict):
        parties, test = value  # the parties, and the aggregator's own test rows
        return _already_split(
            {str(party): _pair(part, name, label) for party, part in parties.items()}, test
        )
    if isinstance(value, list):  # a list is parties, a tuple is one data set
        return _already_split(
            {f"party {i + 1}": _pair(part, name, label) for i, part in enumerate(value)}
        )
    if isinstance(value, dict) and {"x_train", "y_train"} <= value.keys():
        test = (value["x_test"], value["y_test"]) if {"x_test", "y_test"} <= value.keys() else None
        return _pool((value["x_train"], value["y_train"]), test, name=name, notes=notes)
    if isinstance(value, dict) and {"data", "target"} <= value.keys():  # scikit-learn's Bunch
        return _pool((value["data"], value["target"]), None, name=name, notes=notes)
    if isinstance(value, dict):
        return _already_split(
            {str(party): _pair(part, name, label) for party, part in value.items()}
        )
    frames = _frames(value)
    if frames:
        frames = [_named_columns(frame, name) for frame in frames]
        columns = {column: frames[0][column].to_numpy() for column in frames[0].columns}
        if key and key not in columns and key not in namespace:
            raise _no_column(key, list(columns))
        found = [_frame_pair(frame, name, label, drop=key) for frame in frames]
        notes = (*notes, *found[0][1])
        return _pool(
            found[0][0],
            found[1][0] if len(found) == 2 else None,
            name=name,
            columns=columns,
            notes=notes,
        )
    return _pool(*_pair(value, name, label), name=name, notes=notes)


def _frames(value: Any) -> list[Any]:
    """Return the DataFrames that a value is: one, or a training and a test one of the same
    columns.
    """
    if _is_frame(value):
        return [value]
    is_two = (
        isinstance(value, tuple) and len(value) == 2 and all(_is_frame(frame) for frame in value)
    )
    return list(value) if is_two and list(value[0].columns) == list(value[1].columns) else []


def _pair(value: Any, name: str, label: str) -> tuple[Any, Any]:
    """Return (train, test or None) from one data set in any of the forms that a notebook holds."""
    if frames := _frames(value):
        pairs = [_frame_pair(_named_columns(frame, name), name, label)[0] for frame in frames]
        return pairs[0], pairs[1] if len(pairs) == 2 else None
    if isinstance(value, tuple):
        if len(value) != 2:
            raise DataError(
                f"--data {name!r} holds a tuple of {len(value)}",
                "write it as (x, y) or ((x, y), (x_test, y_test))",
            )
        train, test = value
        is_pair = isinstance(train, tuple) and not (
            texts.holds_documents(train) and not texts.holds_documents(train[0])
        )
        if is_pair and (test is None or isinstance(test, tuple)):
            return train, test
        if texts.holds_documents(train) and (test is None or texts.are_no_labels(test, len(train))):
            return (train, None), None if test is None else (test, None)
        if _is_dataset(train) and (test is None or _is_dataset(test)):
            return train, test
        return value, None
    if texts.holds_documents(value):
        return (value, None), None
    if _is_dataset(value):
        return value, None
    raise DataError(
        f"--data {name!r} is or holds {type(value).__name__} where rows with labels should be",
        "give (x, y), ((x, y), (x_test, y_test)), a DataFrame, a Dataset, or for a Doc2Vec a "
        "list of texts; "
        "a list or dict of these means parties",
    )


def _pool(train: Any, test: Any, *, name: str, **more: Any) -> Source:
    given = [_given(f"{name} (training rows)", train, True, "")]
    given += [_given(f"{name} (test rows)", test, False, "test ")] if test is not None else []
    found, classes = arrays.label_all(given)
    labels = {("", kind): y for kind, (_, y) in zip(("train", "test"), found, strict=False)}
    rows = [rows for rows, _ in found]
    return Source(
        rows[0], rows[1] if test is not None else None, labels=labels, classes=classes, **more
    )


def _already_split(pairs: Mapping[str, tuple[Any, Any]], test: Any = None) -> Source:
    if not pairs:
        raise DataError(
            "the list of parties' data sets is empty", "give one data set for each party"
        )
    keys = [
        (party, kind)
        for party, both in pairs.items()
        for kind, rows in zip(_KINDS, both, strict=True)
        if rows is not None
    ]
    given = [
        _given(party, pairs[party][0], True, f"{party} ")
        if kind == "train"
        else _given(f"{party} (test rows)", pairs[party][1], False, f"{party} test ")
        for party, kind in keys
    ]
    if test is not None:
        keys.append(("", "test"))
        given.append(_given("the test set", test, False, "test "))
    labelled, classes = arrays.label_all(given)
    found = dict(zip(keys, labelled, strict=True))
    rows = {key: rows for key, (rows, _) in found.items()}
    shapes = {
        party: np.shape(part[0])[1:] for (party, _), part in rows.items() if isinstance(part, tuple)
    }
    first = next(iter(shapes.items()), ("", ()))
    for party, shape in shapes.items():
        if shape != first[1]:
            line = (
                f"rows of {party or 'the test set'} have shape {shape}, those of {first[0]} "
                f"{first[1]}"
            )
            raise DataError(line, "give all the same form")
    return Source(
        test=rows.get(("", "test")),
        parties={party: (rows[party, "train"], rows.get((party, "test"))) for party in pairs},
        labels={key: y for key, (_, y) in found.items()},
        classes=classes,
    )


def _given(where: str, rows: Any, trains: bool, prefix: str) -> tuple[str, Any, bool]:
    """Return what `label_all` takes; text has become documents, whose tags begin with the prefix if
    they bring none.
    """
    is_text = isinstance(rows, tuple) and len(rows) == 2 and texts.holds_documents(rows[0])
    return where, texts.to_documents(rows, where, prefix) if is_text else rows, trains


def _is_frame(value: Any) -> bool:
    return type(value).__name__ == "DataFrame" and hasattr(value, "to_numpy")


def _is_dataset(value: Any) -> bool:
    """Whether it gives rows one at a time; an array or a tensor is a column, and a list means
    parties.
    """
    is_column = hasattr(value, "shape") or isinstance(value, list | tuple | dict | str)
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not is_column


def _named_columns(frame: Any, name: str) -> Any:
    """Return a DataFrame whose columns can be named on the option line."""
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"the DataFrame {name!r} has two columns {twice!r}", "rename one of them")
    return frame


def _frame_pair(
    frame: Any, name: str, label: str, drop: str = ""
) -> tuple[tuple[Any, Any], list[str]]:
    """Return ((x, y), notes) of a DataFrame: a column of text, or every numeric column, but for the
    label.
    """
    columns = list(frame.columns)
    chosen = label or next((c for c in _LABEL_COLUMNS if c in columns), "")
    if (not label or chosen in columns) and (
        text := texts.text_column(frame, _without(columns, chosen, drop))
    ):
        labels = frame[chosen].to_numpy() if chosen else None
        notes = [
            f"text: the column {text!r}",
            *([f"label: the column {chosen!r}"] if chosen else []),
        ]
        return (frame[text].tolist(), labels), notes
    if chosen not in columns:
        which = f"no column {chosen!r}" if chosen else "no column that is plainly the label"
        raise DataError(
            f"the DataFrame {name!r} has {which}",
            f"{nearest(chosen, columns)}add --label COLUMN; its columns are: {', '.join(columns)}",
        )
    features = frame[_without(columns, chosen, drop)]
    words = [c for c in features.columns if features[c].dtype.kind not in "biuf"]
    if words:
        raise DataError(
            f"the DataFrame {name!r} has columns that are not numbers: {', '.join(words)}",
            "drop them or encode them first, with pandas.get_dummies say",
        )
    return (features.to_numpy(dtype=np.float32), frame[chosen].to_numpy()), [
        f"label: the column {chosen!r}"
    ]


def _without(columns: list[str], *left_out: str) -> list[str]:
    return [column for column in columns if column not in left_out]


def looks_like_data(name: str, value: Any) -> bool:
    """Return whether a variable holds something that can be divided among parties, judged by its
    type.
    """
    if name.startswith("_") or inspect.isclass(value) or inspect.ismodule(value):
        return False
    if isinstance(value, list) and texts.holds_documents(value):
        return True
    parts = list(value.values()) if isinstance(value, dict) else value
    if isinstance(parts, list | tuple) and 1 <= len(parts) <= 100:
        is_pair = (
            isinstance(parts, tuple)
            and len(parts) == 2
            and all(hasattr(part, "shape") for part in parts)
        )
        return is_pair or all(
            isinstance(part, tuple) and looks_like_data(name, part) for part in parts
        )
    return _is_frame(value) or any(
        t.__module__.startswith("torch.utils.data") for t in type(value).__mro__
    )


def column(source: Source, name: str, namespace: Mapping[str, Any]) -> np.ndarray:
    """Return one value for each row, from a column of the data or a variable of that name."""
    if name not in source.columns and name not in namespace:
        raise _no_column(name, list(source.columns))
    keys = source.columns[name] if name in source.columns else arrays.column(namespace[name], name)
    if keys.dtype == object or np.issubdtype(keys.dtype, np.floating):
        # None, NaN and pandas' NA are the values that are missing or differ from themselves.
        if missing := sum(key is None or key != key or str(key) == "<NA>" for key in keys.tolist()):
            raise DataError(
                f"{missing} rows have no value of {name!r}", "fill or drop those rows first"
            )
        keys = np.array([str(key) for key in keys]) if keys.dtype == object else keys
    return keys


def _no_column(name: str, columns: list[str]) -> NameNotFoundError:
    return NameNotFoundError(
        f"there is no column and no variable {name!r} to divide by",
        f"{nearest(name, columns)}columns: {', '.join(columns)}"
        if columns
        else "give the name of an array of ids",
    )
