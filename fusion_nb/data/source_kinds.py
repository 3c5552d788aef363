"""Recognition of data: which of the forms that a notebook holds a value has.

This is decided here, once and before anything is converted; `loading` then reads each kind in its
own way and asks no more. A list or a dict means parties; a tuple is one data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.items import are_inputs, inputs_of
from fusion_nb.data import texts
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
    """Training rows and, if there are any, test rows."""

    train: Raw
    test: Raw | None = None


@dataclass(frozen=True)
class Parties:
    """A pool for each party by its name, and the aggregator's own test rows or None."""

    pools: Mapping[str, Pool]
    test: Raw | None = None


def recognise(value: Any, name: str) -> Pool | Parties:
    """Return what a variable holds: one pool of rows, or a pool for each party.

    name: of the variable, for messages. Raises DataError for a value of any other form.
    """
    if isinstance(value, dict):
        return _recognise_dict(value, name)
    if isinstance(value, list) and not texts.holds_documents(value):
        return Parties({f"party {i + 1}": _pool(part, name) for i, part in enumerate(value)})
    is_pair = isinstance(value, tuple) and len(value) == 2
    if is_pair and isinstance(value[0], dict) and not are_inputs(*value):
        parties, test = value
        pools = {str(party): _pool(part, name) for party, part in parties.items()}
        return Parties(pools, None if test is None else _one_set(test, name))
    return _pool(value, name)


def recognise_pair(pair: tuple[Any, Any]) -> Columns | Texts | Items:
    """Return what a pair `(x, y)` holds: x is documents, numbers, or several arrays of numbers."""
    x, y = pair
    if are_inputs(x, y):
        return Items(inputs_of(x, y))
    return Texts(x, y) if texts.holds_documents(x) else Columns(x, y)


def _recognise_dict(value: Mapping[Any, Any], name: str) -> Pool | Parties:
    if {"x_train", "y_train"} <= value.keys():
        has_test = {"x_test", "y_test"} <= value.keys()
        test = recognise_pair((value["x_test"], value["y_test"])) if has_test else None
        return Pool(recognise_pair((value["x_train"], value["y_train"])), test)
    if {"data", "target"} <= value.keys():  # scikit-learn's Bunch
        return Pool(recognise_pair((value["data"], value["target"])))
    return Parties({str(party): _pool(part, name) for party, part in value.items()})


def _pool(value: Any, name: str) -> Pool:
    return _pool_of_tuple(value, name) if isinstance(value, tuple) else Pool(_one_set(value, name))


def _pool_of_tuple(value: tuple[Any, ...], name: str) -> Pool:
    """Return what a tuple holds: training and test rows, or the two columns of one data set."""
    if len(value) != 2:
        raise _wrong_tuple(value, name)
    train, test = value
    if is_table(train) and is_table(test) and _have_same_columns(train, test):
        return Pool(Table(train), Table(test))
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


def _may_be_pair(value: Any) -> bool:
    """Return whether a value is a tuple `(x, y)`, and not a tuple of documents."""
    if not isinstance(value, tuple):
        return False
    return not texts.holds_documents(value) or texts.holds_documents(value[0])


def is_table(value: Any) -> bool:
    """Return whether a value is a DataFrame, which is recognised without importing pandas."""
    return type(value).__name__ == "DataFrame" and hasattr(value, "to_numpy")


def is_map_style(value: Any) -> bool:
    """Return whether a value gives rows one at a time.

    An array or a tensor does not: it is a column. Nor does a list: it means parties.
    """
    is_column = hasattr(value, "shape") or isinstance(value, list | tuple | dict | str)
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not is_column


def _have_same_columns(first: Any, second: Any) -> bool:
    return list(first.columns) == list(second.columns)


def _wrong_tuple(value: tuple[Any, ...], name: str) -> DataError:
    return DataError(
        f"{option('data', repr(name))} holds a tuple of {len(value)}",
        "write it as (x, y) or ((x, y), (x_test, y_test))",
        value=name,
    )
