"""Recognition of data: which of the forms that a notebook holds a value has.

This is decided here, once and before anything is converted; `loading` then reads each kind in its
own way and asks no more. A list or a dict means parties; a tuple is one data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fusion_nb.data import texts
from fusion_nb.data.unwrapping import is_structured, named
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


#: Names of sets of rows, which are not names of parties -> which set.
_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
}

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
    """A pool for each party by its name, and the aggregator's own test rows or None."""

    pools: Mapping[str, Pool]
    test: Raw | None = None


def recognise(value: Any, name: str) -> Pool | Parties:
    """Return what a variable holds: one pool of rows, or a pool for each party.

    name: of the variable, for messages. Raises DataError for a value of any other form.
    """
    if isinstance(value, tuple) and len(value) == 2 and is_structured(value[0]):
        return _pool_of_tuple(value, name)
    if isinstance(value, dict):
        return _recognise_dict(value, name)
    if isinstance(value, list) and not texts.holds_documents(value):
        return Parties({f"party {i + 1}": _pool(part, name) for i, part in enumerate(value)})
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], dict):
        parties, test = value
        pools = {party: _pool(part, name) for party, part in named(parties).items()}
        return Parties(pools, None if test is None else _one_set(test, name))
    return _pool(value, name)


def recognise_pair(pair: tuple[Any, Any]) -> Columns | Texts:
    """Return what a pair `(x, y)` holds: x is documents or numbers."""
    x, y = pair
    return Texts(x, y) if texts.holds_documents(x) else Columns(x, y)


def _recognise_dict(value: Mapping[Any, Any], name: str) -> Pool | Parties:
    if {"x_train", "y_train"} <= value.keys():
        has_test = {"x_test", "y_test"} <= value.keys()
        test = recognise_pair((value["x_test"], value["y_test"])) if has_test else None
        return Pool(recognise_pair((value["x_train"], value["y_train"])), test)
    if {"data", "target"} <= value.keys():  # scikit-learn's Bunch
        return Pool(recognise_pair((value["data"], value["target"])))
    if (splits := _split_names(value)) and "train" in splits:
        return _pool_of_splits(value, splits, name)
    return Parties({party: _pool(part, name) for party, part in named(value).items()})


def _split_names(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the keys of a dict by the sets that they name, if each names a set of rows."""
    keys = {key: _SPLITS.get(str(key).lower(), "") for key in value}
    return {split: key for key, split in keys.items()} if all(keys.values()) else {}


def _pool_of_splits(value: Mapping[Any, Any], splits: Mapping[str, Any], name: str) -> Pool:
    """Return training and test rows that a dict names so; validation rows stand in for tests."""
    test = next((splits[split] for split in ("test", "validation") if split in splits), None)
    unused = [str(key) for key in value if key not in (splits["train"], test)]
    said = f"{splits['train']!r} holds training rows"
    if test is not None:
        said = f"{said} and {test!r} the test rows of all parties"
    note = f"data: {said}; these are no parties"
    if unused:
        note = f"{note}; {', '.join(map(repr, unused))} is not used"
    return Pool(
        _one_set(value[splits["train"]], name),
        None if test is None else _one_set(value[test], name),
        (note,),
    )


def _pool(value: Any, name: str) -> Pool:
    return _pool_of_tuple(value, name) if isinstance(value, tuple) else Pool(_one_set(value, name))


def _pool_of_tuple(value: tuple[Any, ...], name: str) -> Pool:
    """Return what a tuple holds: training and test rows, or the two columns of one data set."""
    if len(value) != 2:
        raise _wrong_tuple(value, name)
    train, test = value
    _check_table(train, name)
    if is_table(train) and is_table(test) and _share_columns(train, test):
        return Pool(Table(train), Table(test))
    if _are_inputs(train, test):
        return Pool(Columns(train, test))
    if _may_be_pair(train) and (test is None or isinstance(test, tuple)):
        return Pool(_one_set(train, name), None if test is None else _one_set(test, name))
    if texts.holds_documents(train) and (test is None or texts.are_documents(test, len(train))):
        return Pool(Texts(train), None if test is None else Texts(test))
    if is_map_style(train) and (test is None or is_map_style(test)):
        return Pool(Items(train), None if test is None else Items(test))
    return Pool(recognise_pair((train, test)))


def _one_set(value: Any, name: str) -> Raw:
    if is_table(value):
        return Table(value)
    _check_table(value, name)
    if isinstance(value, tuple):
        if len(value) != 2:
            raise _wrong_tuple(value, name)
        return recognise_pair(value)
    if texts.holds_documents(value):
        return Texts(value)
    if is_map_style(value):
        return Items(value)
    raise DataError(
        f"{option('data', repr(name))} is or holds {type(value).__name__} where rows with labels "
        "should be",
        "give (x, y), ((x, y), (x_test, y_test)), a DataFrame, a Dataset, or for a Doc2Vec a "
        "list of texts; a list or dict of these means parties",
        value=name,
    )


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


def is_table(value: Any) -> bool:
    """Return whether a value is a DataFrame of pandas, which is not imported for it."""
    return any(
        base.__name__ == "DataFrame" and base.__module__.partition(".")[0] == "pandas"
        for base in type(value).__mro__
    )


def _is_other_table(value: Any) -> bool:
    """Return whether a value is a frame of another library than pandas."""
    is_named = type(value).__name__ in ("DataFrame", "LazyFrame", "Table", "GeoDataFrame")
    return is_named and not is_table(value) and hasattr(value, "columns")


def is_map_style(value: Any) -> bool:
    """Return whether a value gives rows one at a time.

    An array or a tensor does not: it is a column. Nor does a list: it means parties.
    """
    is_column = hasattr(value, "shape") or isinstance(value, list | tuple | dict | str)
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not is_column


def _share_columns(first: Any, second: Any) -> bool:
    """Return whether two frames are rows of one kind, and not rows and their labels."""
    return bool({*map(str, first.columns)} & {*map(str, second.columns)})


def _wrong_tuple(value: tuple[Any, ...], name: str) -> DataError:
    return DataError(
        f"{option('data', repr(name))} holds a tuple of {len(value)}",
        "write it as (x, y) or ((x, y), (x_test, y_test))",
        value=name,
    )
