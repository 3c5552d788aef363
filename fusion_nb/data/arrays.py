"""Rows and labels of any origin as arrays of numbers, or refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from fusion_nb.core import documents
from fusion_nb.core import rows as rows_of
from fusion_nb.core.facts import DOCUMENTS, TABLE, Facts
from fusion_nb.core.items import read_labels
from fusion_nb.data.tabular.columns import Table
from fusion_nb.errors import DataError, option

#: Rows and labels as two arrays of one length.
Arrays = tuple[np.ndarray, np.ndarray]


class MapStyle(Protocol):
    """A data set that gives one row `(x, y)` at a time, such as a torch `Dataset`."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, position: int, /) -> Any:
        """Return the row `(x, y)` at a position."""
        ...


#: The rows of a party, of a pool or of a test set.
DataSet = Arrays | MapStyle


@dataclass(frozen=True)
class Given:
    """A data set whose labels are still in the user's form.

    where:   how messages call it;  columns: names of the columns of x, or ()
    labels:  as they are stored, in one array;  facts: about its rows
    is_trained_on: False for test rows
    class_order: the names of classes in the order of a Categorical, or ()
    table: the columns of a table that is encoded later, or None
    """

    where: str
    rows: DataSet
    labels: np.ndarray
    facts: Facts
    columns: tuple[str, ...] = ()
    is_trained_on: bool = True
    class_order: tuple[str, ...] = ()
    table: Table | None = None

    @classmethod
    def of(
        cls,
        rows: DataSet,
        where: str,
        columns: tuple[str, ...] = (),
        *,
        is_trained_on: bool = True,
        class_order: tuple[str, ...] = (),
        keeps_missing: bool = False,
    ) -> Given:
        """Return a data set with its labels, which are read if they are not at hand.

        keeps_missing: numbers of rows may be missing, and are NaN then
        Raises DataError, which says whose row can't be read, or whose labels are no labels.
        """
        if isinstance(rows, tuple):
            x, labels = rows
            facts = Facts((), (DOCUMENTS,)) if documents.are(rows) else Facts.of_tree(x)
        else:
            try:
                labels, facts = read_labels(rows, keeps_missing=keeps_missing)
            except DataError as error:
                raise error.prefixed(f"{where}: ") from error.__cause__
        labels = _checked_labels(labels, where)
        return cls(where, rows, labels, facts, columns, is_trained_on, class_order)

    @classmethod
    def of_table(
        cls,
        table: Table,
        labels: np.ndarray,
        where: str,
        *,
        is_trained_on: bool,
        class_order: tuple[str, ...],
    ) -> Given:
        """Return the rows of a table, whose columns are encoded later, with one label for each."""
        rows: Any = table.values, labels
        facts, columns = Facts((), (TABLE,)), tuple(table.values)
        labels = _checked_labels(labels, where)
        return cls(where, rows, labels, facts, columns, is_trained_on, class_order, table)


def _checked_labels(labels: np.ndarray, where: str) -> np.ndarray:
    """Return labels as numpy has them. Raises DataError where they are no labels."""
    labels = _plain(labels)
    if not are_text(labels, where) and not documents.are_unlabelled(labels):
        check_numbers(labels, f"{where}: y")
    return labels


def _check_some(rows: Any, where: str) -> None:
    """Raise DataError where there are no rows, or their number is not told."""
    try:
        count = rows_of.size(rows)
    except DataError as error:
        raise error.prefixed(f"{where}: ") from error.__cause__
    if not count:
        raise DataError(f"{where}: there are no rows", "give at least two")


def to_arrays(rows: Any, where: str, *, keeps_missing: bool = False) -> DataSet:
    """Return (x, y) as arrays of one length, x as numbers; a Dataset is returned as it is.

    where: how messages call the rows;  keeps_missing: numbers of x may be missing, and are NaN then
    Raises DataError for rows that are empty, sparse, of different lengths or not finite real
    numbers.
    """
    if hasattr(rows, "tensors") and len(rows.tensors) == 2:
        rows = tuple(rows.tensors)  # torch's TensorDataset: its arrays are faster to slice
    if isinstance(rows, tuple):
        for name, values in zip("xy", rows, strict=True):
            _check_dense(values, f"{where}: {name}")
        if isinstance(rows[0], dict | tuple) and not rows[0]:
            raise DataError(f"{where}: there are no rows", "give at least two")
    _check_some(rows, where)
    if not isinstance(rows, tuple):
        data: MapStyle = rows
        return data
    _check_one_label(rows[1], where)
    if isinstance(rows[0], dict) or _is_several(rows[0]):
        return _several(rows[0], column(rows[1], f"{where}, y"), where)
    x = column(rows[0], f"{where}, x", keeps_missing=keeps_missing)
    y = column(rows[1], f"{where}, y")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise DataError(
            f"{where}: {np.size(x, 0) if x.ndim else 'no'} rows but {_count(y)}",
            "give one label for each",
        )
    if not documents.are((x, y)):
        as_table = f"; or give a DataFrame with {option('tabular', 'auto')}, which fills gaps"
        else_ = as_table if x.ndim == 2 else ""
        check_numbers(x, f"{where}: x", else_, keeps_missing=keeps_missing)
    return x, y


def _count(y: np.ndarray) -> str:
    """Return the number of labels in words, with their shape where they have several axes."""
    return f"{y.size} labels" if y.ndim < 2 else f"{len(y)} labels (y has the shape {y.shape})"


def _check_one_label(y: Any, where: str) -> None:
    """Raise DataError for labels of several outputs, which come row by row."""
    if isinstance(y, dict):
        raise DataError(
            f"{where}: the labels are a dict of {', '.join(map(str, y))}",
            "several labels a row come from a data set with __len__ and __getitem__, whose rows "
            "are (x, {name: label, ...})",
        )


def _is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN or pandas' NA: those differ from themselves."""
    return value is None or str(value) in ("<NA>", "NaT") or bool(value != value)


def _plain(values: np.ndarray) -> np.ndarray:
    """Return an array of Python's own numbers as one of numpy's; any other is not changed."""
    kinds = (bool, int, float, np.number, np.bool_, Decimal)
    if values.dtype != object or not values.size:
        return values
    items = values.reshape(-1).tolist()
    if all(isinstance(item, np.ndarray) and item.dtype != object for item in items):
        is_one_shape = len({item.shape for item in items}) == 1
        return np.stack(items) if is_one_shape and values.ndim == 1 else values
    if any(isinstance(item, Decimal) for item in items) and all(
        isinstance(item, kinds) for item in items
    ):
        return np.array(items, dtype=np.float64).reshape(values.shape)
    if not all(isinstance(item, kinds) for item in items):
        return values
    return np.array(items).reshape(values.shape)


def _with_gaps(values: np.ndarray) -> np.ndarray:
    """Return an array of Python's own numbers with NaN where one is missing; any other as it is."""
    if values.dtype != object:
        return values
    items = values.reshape(-1).tolist()
    are_missing = [not isinstance(item, np.ndarray | list) and _is_missing(item) for item in items]
    filled = np.empty(len(items), object)
    filled[:] = [float("nan") if gone else v for v, gone in zip(items, are_missing, strict=True)]
    return filled.reshape(values.shape)


def _is_several(x: Any) -> bool:
    """Return whether rows are a tuple of several arrays, each with an entry for each row."""
    return isinstance(x, tuple) and len(x) > 1 and all(hasattr(part, "shape") for part in x)


def _several(x: Any, y: np.ndarray, where: str) -> DataSet:
    """Return rows of several arrays, with one label for each. Raises DataError."""
    named = dict(x) if isinstance(x, dict) else dict(enumerate(x))
    found = {name: column(values, f"{where}, x[{name!r}]") for name, values in named.items()}
    for name, values in found.items():
        if len(values) != len(y):
            raise DataError(
                f"{where}: the input {name!r} has {len(values)} rows, and there are {len(y)} "
                "labels",
                "give arrays of one length: one for each input, and one label for each row",
            )
        check_numbers(values, f"{where}: x[{name!r}]")
    made: Any = found if isinstance(x, dict) else tuple(found.values())
    return made, y


def _check_dense(values: Any, where: str) -> None:
    """Raise DataError for matrices and tensors that are sparse, ragged, nested or a number."""
    kind = type(values).__name__
    is_torch = hasattr(values, "detach")
    if hasattr(values, "toarray"):
        raise DataError(f"{where} is a sparse matrix", "use its toarray(), or fewer columns")
    if kind == "RaggedTensor" or (is_torch and values.is_nested):
        how = "its to_tensor()" if kind == "RaggedTensor" else "its to_padded_tensor(0.0)"
        raise DataError(f"{where} is a tensor of rows of different lengths", f"pad them: {how}")
    if kind == "SparseTensor" or (is_torch and str(values.layout) != "torch.strided"):
        how = "tf.sparse.to_dense(x)" if kind == "SparseTensor" else "its to_dense()"
        raise DataError(f"{where} is a sparse tensor", f"use {how}, or fewer columns")
    if not hasattr(values, "__len__") or getattr(values, "shape", None) == ():
        hint = "give an array, with an entry for each row"
        if values is None:
            hint += "; (x, x) where the model needs no labels"
        raise DataError(f"{where} is a single {kind}", hint)


def _filled(values: Any, where: str, keeps_missing: bool) -> np.ndarray:
    """Return values as an array, with NaN for masked ones if missing ones are kept.

    Raises DataError for masked ones, which numpy would bring back.
    """
    are_masked = isinstance(values, list | tuple) and any(
        isinstance(row, np.ma.MaskedArray) for row in values
    )
    array = np.ma.stack(values) if are_masked else values
    if isinstance(array, np.ma.MaskedArray):
        if (count := int(np.ma.count_masked(array))) and keeps_missing:
            made = array.data.astype(np.result_type(array.dtype, np.float32))
            made[np.ma.getmaskarray(array)] = np.nan
            return made
        if count:
            raise DataError(f"{where} holds {count} masked values", "fill or drop those rows first")
        array = array.data
    return np.asarray(array)


def column(values: Any, where: str, *, keeps_missing: bool = False) -> np.ndarray:
    """Return a list, tensor, Series or array as a numpy array of native byte order.

    keeps_missing: numbers that are masked, None or pandas' NA become NaN
    """
    if hasattr(values, "detach"):
        # A tensor, perhaps one that records gradients or lies on another device.
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # numpy has no such type
            values = values.float()
    try:
        array = _filled(values, where, keeps_missing)
    except ValueError as error:
        raise DataError(
            f"{where}: rows are of different lengths", "pad them to one shape first"
        ) from error
    except (TypeError, RuntimeError) as error:
        raise DataError(
            f"{where}: {type(values).__name__} can't be made an array of numpy",
            "give np.asarray(...) of it",
        ) from error
    array = array.astype(np.float64) if array.dtype == np.longdouble != np.float64 else array
    array = _plain(_with_gaps(array) if keeps_missing else array)
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    # In one piece and writable, as torch asks of an array that it shares memory with.
    return array if array.flags.c_contiguous and array.flags.writeable else array.copy()


def are_text(y: np.ndarray, where: str) -> bool:
    """Return whether labels are text. Raises DataError where only some of them are."""
    if y.dtype == object and any(isinstance(word, str | bytes) for word in y.reshape(-1)):
        others = [word for word in y.reshape(-1) if not isinstance(word, str | bytes)]
        missing = sum(_is_missing(word) for word in others)
        if missing:
            raise DataError(
                f"{where}: {missing} labels are missing", "fill or drop those rows first"
            )
        if others:
            raise DataError(
                f"{where}: {y.size - len(others)} labels are text, and {len(others)} are not "
                f"({type(others[0]).__name__})",
                "make all of them text or numbers, with y.astype(str) say",
            )
        return True
    return y.dtype.kind in "UST"


def check_numbers(
    values: np.ndarray, where: str, else_: str = "", *, keeps_missing: bool = False
) -> None:
    """Raise DataError for values that are not finite real numbers.

    else_: a way to do without filling them by hand, for the hint
    keeps_missing: NaN is allowed, as a number that is missing
    """
    if values.dtype.kind not in "biuf":
        raise _not_numbers(values, where)
    if not np.issubdtype(values.dtype, np.inexact):
        return
    if keeps_missing:
        if count := int(np.isinf(values).sum()):
            raise DataError(
                f"{where} holds {count} infinite values",
                "make them missing first: x[numpy.isinf(x)] = numpy.nan",
            )
    elif not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(
            f"{where} holds {bad} NaN or infinite values", f"fill or drop those rows first{else_}"
        )


def _not_numbers(values: np.ndarray, where: str) -> DataError:
    """Return the error for an array of anything but real numbers."""
    fill = "fill or drop those rows first"
    if values.dtype != object:
        hints = {
            "U": "turn it into numbers first, with x.astype('float32') say",
            "m": "turn it into numbers first: x / numpy.timedelta64(1, 'D') is days",
            "M": "turn it into numbers first: (x - x.min()) / numpy.timedelta64(1, 'D') is days",
        }
        hint = hints.get(values.dtype.kind, "turn it into numbers first")
        return DataError(f"{where} holds {values.dtype}, not real numbers", hint)
    items = values.reshape(-1).tolist()
    other = next((item for item in items if isinstance(item, np.ndarray | list)), None)
    if other is not None:
        return DataError(f"{where}: rows are of different lengths", "pad them to one shape first")
    if missing := sum(_is_missing(item) for item in items):
        return DataError(f"{where} holds {missing} missing values", fill)
    kinds = (bool, int, float, np.number, np.bool_, Decimal)
    kind = next(type(item).__name__ for item in items if not isinstance(item, kinds))
    return DataError(
        f"{where} holds {kind} objects, not real numbers", "turn it into numbers first"
    )
