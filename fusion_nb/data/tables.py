"""DataFrames: which column is the label, and which columns are the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from fusion_nb.data import frames, texts
from fusion_nb.data.source_kinds import Columns, Texts
from fusion_nb.errors import DataError, nearest, option

_LABEL_COLUMNS = ("label", "target", "y", "class")
#: How a table is given to a model that needs no labels.
_WITHOUT_LABELS = (
    "; for a model that needs no labels give arrays: (x, x), with x = frame.to_numpy()"
)


@dataclass(frozen=True)
class ReadOptions:
    """How rows are read, those of a table above all.

    label: the label's column, or "" for one that is plainly called so
    key:   a column by which rows are divided, which is left out, or ""
    is_encoded: columns of any kind are taken, since they are encoded later
    needs_label: refuse a table in which no column is plainly the label
    keeps_missing: leave a number that is missing NaN, and do not refuse it
    """

    label: str = ""
    key: str = ""
    is_encoded: bool = False
    needs_label: bool = True
    keeps_missing: bool = False


def columns(frame: Any, name: str) -> dict[str, np.ndarray]:
    """Return every column of a DataFrame by its name.

    name: of the variable, for messages. Raises DataError where two columns have one name.
    """
    frame = with_text_names(frame, name)
    return {column: frame[column].to_numpy() for column in frame.columns}


def read(frame: Any, name: str, how: ReadOptions) -> tuple[Columns | Texts, tuple[str, ...]]:
    """Return the rows of a DataFrame, and notes that say which columns were chosen.

    The rows are a column of text, or else every numeric column but the label; of a table that is
    encoded later, every column but the label. `name` of the variable is for messages.
    Raises DataError for columns that can't be used.
    """
    frame = with_text_names(frame, name)
    names, label = list(frame.columns), how.label
    chosen = label or next((column for column in _LABEL_COLUMNS if column in names), "")
    features = [column for column in names if column not in (chosen, how.key)]
    is_known = chosen in names
    if (
        not how.is_encoded
        and (is_known or not label)
        and (text := texts.text_column(frame, features))
    ):
        return _read_text(frame, text, chosen)
    if not is_known and not label and not how.needs_label:
        return Columns(frame[features], np.zeros(len(frame), np.int64)), ()
    if not is_known:
        which = f"no column {chosen!r}" if chosen else "no column that is plainly the label"
        raise DataError(
            f"the DataFrame {name!r} has {which}",
            f"{nearest(chosen, names)}add {option('label', 'COLUMN')}; its columns are: "
            f"{', '.join(names)}" + ("" if chosen else _WITHOUT_LABELS),
            option="label",
            value=label,
            allowed=names,
        )
    if how.is_encoded:
        return Columns(frame[features], frame[chosen]), (_label_note(chosen),)
    x = _float32(frame[features], f"the DataFrame {name!r}", how.keeps_missing)
    return Columns(x, frame[chosen], tuple(features)), (_label_note(chosen),)


def with_text_names(frame: Any, name: str) -> Any:
    """Return a DataFrame whose columns can be named on the option line: as text, each once."""
    return frames.with_text_names(frame, f"the DataFrame {name!r}")


def _read_text(frame: Any, text: str, label: str) -> tuple[Texts, tuple[str, ...]]:
    note = f"text: the column {text!r}"
    if not label:
        return Texts(frame[text].tolist()), (note,)
    return Texts(frame[text].tolist(), frame[label]), (note, _label_note(label))


def numbers(
    frame: Any, where: str, *, keeps_missing: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the columns of a DataFrame as an array, and their names.

    Columns of numpy's own numbers keep their type, others become float32.
    keeps_missing: leave a number that is missing NaN
    Raises DataError for columns that are not numbers, or lack values that are not to be kept.
    """
    frame = with_text_names(frame, where)
    if all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in frame.dtypes):
        if not keeps_missing:
            _check_columns({name: frame[name].to_numpy() for name in frame.columns}, {}, where)
        return frame.to_numpy(), tuple(frame.columns)
    return _float32(frame, where, keeps_missing), tuple(frame.columns)


def _float32(frame: Any, where: str, keeps_missing: bool) -> np.ndarray:
    """Return the columns of a DataFrame as float32.

    Booleans, nullable numbers, numbers of arrow and Python's own are numbers, too. Raises DataError
    that names the columns that are none, or lack values.
    """
    columns = {name: _as_numbers(frame[name]) for name in frame.columns}
    found = {name: column for name, column in columns.items() if column is not None}
    others = {name: frame[name] for name in columns if name not in found}
    _check_columns({} if keeps_missing else found, others, where)
    return np.stack([*found.values()], 1) if found else np.empty((len(frame), 0), np.float32)


def _check_columns(
    numbers: Mapping[str, np.ndarray], others: Mapping[str, Any], where: str
) -> None:
    """Raise DataError for columns that are not numbers, and for those with missing values."""
    missing = [name for name, column in numbers.items() if np.isnan(column).any()]
    missing += [name for name, column in others.items() if column.isna().any()]
    said = []
    by_hand = []
    if others:
        named = [f"{name} ({_word(column)})" for name, column in others.items()]
        said.append(f"columns that are not numbers: {', '.join(named)}")
        by_hand.append("pandas.get_dummies(frame) makes 0 and 1 of text and categories")
    if missing:
        said.append(f"missing values, in the columns {', '.join(missing)}")
        by_hand.append("frame.fillna(...) or frame.dropna() removes missing values")
    if said:
        raise DataError(
            f"{where} has {'; and '.join(said)}",
            f"add {option('tabular', 'auto')}, which encodes, fills and scales columns alike at "
            f"all parties; or do it by hand first: {', and '.join(by_hand)}",
        )


def _word(column: Any) -> str:
    """Return what a column that is no number holds, in a word."""
    if type(column.dtype).__name__ == "CategoricalDtype":
        return "categories"
    if column.dtype.kind in "mM":
        return "dates" if column.dtype.kind == "M" else "spans of time"
    there = column.dropna()
    is_text = all(isinstance(value, str | bytes) for value in there)
    return "text" if is_text and len(there) else "objects"


def _as_numbers(column: Any) -> np.ndarray | None:
    """Return a column as float32, NaN where a value is missing; None for a column of no numbers."""
    if column.dtype.kind in "biuf":
        return np.asarray(column.to_numpy(dtype=np.float32, na_value=np.nan))
    kinds = (bool, int, float, np.number, np.bool_, Decimal)
    is_missing = column.isna()
    are_numbers = all(isinstance(value, kinds) for value in column[~is_missing])
    if str(column.dtype) != "object" or not are_numbers:
        return None
    numbers = [np.nan if gone else float(v) for v, gone in zip(column, is_missing, strict=True)]
    return np.array(numbers, np.float32)


def check_aligned(x: Any, y: Any, where: str) -> None:
    """Raise DataError where rows and labels of pandas have the same index in another order.

    They are joined by position. An index that does not tell rows apart says nothing.
    """
    if type(x).__module__.partition(".")[0] != "pandas" or not hasattr(y, "index"):
        return
    if type(y).__module__.partition(".")[0] != "pandas" or not hasattr(x, "index"):
        return
    if len(x) != len(y) or x.index.equals(y.index) or not (x.index.is_unique and y.index.is_unique):
        return
    if x.index.isin(y.index).all():
        raise DataError(
            f"{where}: the indexes of x and y name the same rows in another order, and rows are "
            "joined by position",
            "give y.loc[x.index]; where the positions are right, give y.to_numpy()",
        )


def _label_note(column: str) -> str:
    return f"label: the column {column!r}"
