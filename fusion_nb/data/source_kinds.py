"""Recognition of data: which of the forms that a notebook holds a value has.

This is decided here, once and before anything is converted; `loading` then reads each kind in its
own way and asks no more. A list or a dict means parties; a tuple is one data set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fusion_nb.data import set_names, texts
from fusion_nb.data.refusals import are_columns, no_data_set, wrong_tuple
from fusion_nb.data.unwrapping import (
    are_parties_and_test,
    is_map_style,
    is_structured,
    is_table,
    named,
)
from fusion_nb.errors import DataError, option


@dataclass(frozen=True)
class Columns:
    """Rows and labels of numbers: two columns of one length, each an array, a tensor or a list.

    columns: names of the columns of x, or ()
    """

    x: Any
    y: Any
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Texts:
    """Documents, and their labels or None."""

    documents: Any
    labels: Any = None


@dataclass(frozen=True)
class Table:
    """A DataFrame, whose label column is not chosen yet."""

    frame: Any


@dataclass(frozen=True)
class Items:
    """A map-style data set, which gives one row `(x, y)` at a time."""

    dataset: Any


#: One data set in the form that the user gave it.
Raw = Columns | Texts | Table | Items


@dataclass(frozen=True)
class Pool:
    """Training rows and, if there are any, test rows; notes say what was guessed."""

    train: Raw
    test: Raw | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parties:
    """A pool for each party by its name, and the aggregator's own test rows or None.

    notes say what was guessed
    """

    pools: Mapping[str, Pool]
    test: Raw | None = None
    notes: tuple[str, ...] = ()


def recognise(value: Any, name: str) -> Pool | Parties:
    """Return what a variable holds: one pool of rows, or a pool for each party.

    name: of the variable, for messages. Raises DataError for a value of any other form.
    """
    if isinstance(value, tuple) and len(value) == 2 and is_structured(value[0]):
        return _pool_of_tuple(value, name)
    if isinstance(value, tuple) and are_parties_and_test(value):
        whole, test = value
        return replace(recognise(whole, name), test=None if test is None else _one_set(test, name))
    if isinstance(value, dict):
        return _pool_of_dict(value, name, "all parties") or _parties_of_dict(value, name)
    if isinstance(value, list) and not texts.holds_documents(value):
        return Parties({f"party {i + 1}": _pool(part, name) for i, part in enumerate(value)})
    return _pool(value, name)


def _doubt_about_pairs(train: tuple[Any, ...], test: tuple[Any, ...] | None) -> tuple[str, ...]:
    """Return a warning where two pairs might also be several inputs and their several labels.

    Test rows are rarely exactly as many as training rows.
    """
    lengths = {_num_rows(part) for part in (*train, *(test or ()))}
    if test is None or len(lengths) > 1 or None in lengths:
        return ()
    count = lengths.pop()
    return (
        f"warning: two pairs of {count} rows each are taken as training and test rows; {{'train': "
        "(x, y), 'test': (x, y)} says so without this warning. Several inputs with one label are "
        "((a, b), y), and several labels a row come from a Dataset, or one array (rows, labels)",
    )


def _num_rows(part: Any) -> int | None:
    """Return the length of an array, a frame or a list, or None for anything else."""
    shape = getattr(part, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(part) if isinstance(part, list) else None


def recognise_pair(pair: tuple[Any, Any]) -> Columns | Texts:
    """Return what a pair `(x, y)` holds: x is documents or numbers."""
    x, y = pair
    return Texts(x, y) if texts.holds_documents(x) else Columns(x, y)


def _pool_of_dict(value: Mapping[Any, Any], name: str, owner: str) -> Pool | None:
    """Return what a dict of columns or of sets of rows holds, or None where it holds parties.

    owner: of the test rows, for the note
    """
    if columns := set_names.columns_of(value):
        sets: dict[Any, Any] = {key: (found["x"], found["y"]) for key, found in columns.items()}
        said = {key: f"{key} rows" for key in sets}
    elif named_sets := set_names.sets_of(value):
        sets = {key: value[found] for key, found in named_sets.items()}
        said = {key: repr(found) for key, found in named_sets.items()}
    else:
        return None
    test = next((key for key in ("test", "validation") if key in sets), None)
    note = f"data: {said['train']} holds training rows"
    if test is not None:
        note = f"{note} and {said[test]} the test rows of {owner}"
    note = f"{note}; these are no parties"
    if unused := [said[key] for key in sets if key not in ("train", test)]:
        note = f"{note}; {', '.join(unused)} is not used"
    return Pool(
        _one_set(sets["train"], name),
        None if test is None else _one_set(sets[test], name),
        () if columns and not unused else (note,),
    )


def _parties_of_dict(value: Mapping[Any, Any], name: str) -> Parties:
    if are_columns(value):
        raise no_data_set(value, name)
    held_back = [str(key) for key in value if set_names.set_of(key) in ("test", "validation")]
    note = (
        f"warning: {', '.join(map(repr, held_back))} is trained on, as a party of that name; a "
        "test set beside parties is given as ({party: rows}, test)"
    )
    pools = {party: _pool(part, name) for party, part in named(value).items()}
    return Parties(pools, notes=(note,) if held_back else ())


def _pool(value: Any, name: str) -> Pool:
    if isinstance(value, tuple):
        return _pool_of_tuple(value, name)
    pool = _pool_of_dict(value, name, "each party") if isinstance(value, dict) else None
    return pool or Pool(_one_set(value, name))


def _pool_of_tuple(value: tuple[Any, ...], name: str) -> Pool:
    """Return what a tuple holds: training and test rows, or the two columns of one data set."""
    if len(value) > 2 and texts.holds_documents(value):
        return Pool(Texts(value))
    if len(value) != 2:
        raise wrong_tuple(value, name)
    train, test = value
    if isinstance(train, str | os.PathLike):
        raise no_data_set(train, name)
    _check_table(train, name)
    if is_table(train) and is_table(test) and _share_columns(train, test):
        return Pool(Table(train), Table(test))
    if _are_inputs(train, test):
        return Pool(Columns(train, test))
    _check_second_pair(train, test, name)
    if _may_be_pair(train) and (test is None or isinstance(test, tuple)):
        rows = None if test is None else _one_set(test, name)
        return Pool(_one_set(train, name), rows, _doubt_about_pairs(train, test))
    if texts.holds_documents(train) and (test is None or texts.are_documents(test, len(train))):
        return Pool(Texts(train), None if test is None else Texts(test))
    if is_map_style(train) and (test is None or is_map_style(test)):
        return Pool(Items(train), None if test is None else Items(test))
    return Pool(recognise_pair((train, test)))


def _check_second_pair(train: Any, test: Any, name: str) -> None:
    """Raise DataError for `((a, b), (y1, y2))`, where the second pair can't be test rows, or where
    nothing tells whether it is.
    """
    pairs = [part for part in (train, test) if isinstance(part, tuple) and len(part) == 2]
    shapes: list[tuple[int, ...]] = [getattr(part, "shape", ()) for pair in pairs for part in pair]
    if len(shapes) != 4 or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        return
    a, b, y1, _ = shapes
    are_numbers = all(np.asarray(part).dtype.kind in "biufc" for pair in pairs for part in pair)
    is_new = train is not test and pairs[0][0] is not pairs[1][0]  # or they are test rows
    if are_numbers and is_new and all(len(shape) == 1 for shape in shapes):
        raise DataError(
            f"{option('data', repr(name))} holds two pairs of columns of {a[0]} numbers, which are "
            "training and test rows, or two inputs and two labels",
            "write {'train': (x, y), 'test': (x, y)} for the first; for the second join the "
            "columns: (np.stack([a, b], 1), np.stack([y1, y2], 1))",
            value=name,
        )
    if len(b) > 1 and a[1:] != y1[1:]:
        raise DataError(
            f"{option('data', repr(name))} holds two pairs of arrays of {a[0]} rows, of which the "
            f"first ones differ in shape ({a[1:]} and {y1[1:]}), so that they are no training and "
            "test rows",
            "rows of several inputs and one label are written ((a, b), y); several labels a row "
            "come from a Dataset whose rows are ((a, b), (y1, y2))",
            value=name,
        )


def _one_set(value: Any, name: str) -> Raw:
    if is_table(value):
        return Table(value)
    _check_table(value, name)
    if isinstance(value, tuple):
        if len(value) != 2:
            raise wrong_tuple(value, name)
        return recognise_pair(value)
    if texts.holds_documents(value):
        return Texts(value)
    if is_map_style(value):
        return Items(value)
    raise no_data_set(value, name)


def _are_inputs(x: Any, y: Any) -> bool:
    """Return whether a pair is rows of several arrays and their labels, all of one length."""
    if is_structured(x):
        return hasattr(y, "__len__")
    is_several = isinstance(x, tuple) and len(x) > 1 and all(hasattr(p, "shape") for p in x)
    return is_several and not isinstance(y, tuple) and y is not None


def _check_table(value: Any, name: str) -> None:
    """Raise DataError for a frame of another library than pandas."""
    if _is_other_table(value):
        library = type(value).__module__.partition(".")[0]
        raise DataError(
            f"{option('data', repr(name))} is or holds a {type(value).__name__} of {library}, and "
            "frames are read from pandas",
            "give frame.to_pandas()",
            value=name,
        )


def _may_be_pair(value: Any) -> bool:
    """Return whether a value is a tuple `(x, y)`, and not a tuple of documents."""
    if not isinstance(value, tuple):
        return False
    return not texts.holds_documents(value) or texts.holds_documents(value[0])


def _is_other_table(value: Any) -> bool:
    """Return whether a value is a frame of another library than pandas."""
    is_named = type(value).__name__ in ("DataFrame", "LazyFrame", "Table", "GeoDataFrame")
    return is_named and not is_table(value) and hasattr(value, "columns")


def _share_columns(first: Any, second: Any) -> bool:
    """Return whether two frames are rows of one kind, and not rows and their labels."""
    return bool({*map(str, first.columns)} & {*map(str, second.columns)})
