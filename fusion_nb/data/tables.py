"""DataFrames: which column is the label, and which columns are the rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from fusion_nb.data import texts
from fusion_nb.data.source_kinds import Columns, Texts
from fusion_nb.errors import DataError, nearest, option

_LABEL_COLUMNS = ("label", "target", "y", "class")


def columns(frame: Any, name: str) -> dict[str, np.ndarray]:
    """Return every column of a DataFrame by its name.

    name: of the variable, for messages. Raises DataError where two columns have one name.
    """
    frame = _with_text_names(frame, name)
    return {column: frame[column].to_numpy() for column in frame.columns}


def read(
    frame: Any, name: str, label: str, key: str = ""
) -> tuple[Columns | Texts, tuple[str, ...]]:
    """Return the rows of a DataFrame, and notes that say which columns were chosen.

    The rows are a column of text, or else every numeric column but the label.
    name: of the variable, for messages;  label: the label's column, or "" for one that is plainly
    called so;  key: a column by which rows are divided, which is left out, or ""
    Raises DataError for columns that can't be used.
    """
    frame = _with_text_names(frame, name)
    names = list(frame.columns)
    chosen = label or next((column for column in _LABEL_COLUMNS if column in names), "")
    features = [column for column in names if column not in (chosen, key)]
    is_known = chosen in names
    if (is_known or not label) and (text := texts.text_column(frame, features)):
        return _read_text(frame, text, chosen)
    if not is_known:
        which = f"no column {chosen!r}" if chosen else "no column that is plainly the label"
        raise DataError(
            f"the DataFrame {name!r} has {which}",
            f"{nearest(chosen, names)}add {option('label', 'COLUMN')}; its columns are: "
            f"{', '.join(names)}",
            option="label",
            value=label,
            allowed=names,
        )
    x = _float32(frame[features], f"the DataFrame {name!r}")
    return Columns(x, frame[chosen].to_numpy(), tuple(features)), (_label_note(chosen),)


def _with_text_names(frame: Any, name: str) -> Any:
    """Return a DataFrame whose columns can be named on the option line: as text, each once."""
    if frame.columns.nlevels > 1:
        joined = ["_".join(str(level) for level in names if level != "") for names in frame.columns]
        frame = frame.set_axis(joined, axis=1)
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"the DataFrame {name!r} has two columns {twice!r}", "rename one of them")
    return frame


def _read_text(frame: Any, text: str, label: str) -> tuple[Texts, tuple[str, ...]]:
    note = f"text: the column {text!r}"
    if not label:
        return Texts(frame[text].tolist()), (note,)
    return Texts(frame[text].tolist(), frame[label].to_numpy()), (note, _label_note(label))


def numbers(frame: Any, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the columns of a DataFrame as an array, and their names.

    Columns of numpy's own numbers keep their type, others become float32. Raises DataError for
    columns that are not numbers.
    """
    frame = _with_text_names(frame, where)
    if all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in frame.dtypes):
        return frame.to_numpy(), tuple(frame.columns)
    return _float32(frame, where), tuple(frame.columns)


def _float32(frame: Any, where: str) -> np.ndarray:
    """Return the columns of a DataFrame as float32. Raises DataError, which names those of words.

    Booleans, nullable numbers, numbers of arrow and Python's own are numbers, too.
    """
    columns = {name: _as_numbers(frame[name]) for name in frame.columns}
    if words := [name for name, column in columns.items() if column is None]:
        raise DataError(
            f"{where} has columns that are not numbers: {', '.join(words)}",
            "drop them or encode them first, with pandas.get_dummies say",
        )
    missing = [n for n, c in columns.items() if c is not None and np.isnan(c).any()]
    if missing:
        raise DataError(
            f"{where} has missing values, in the columns {', '.join(missing)}",
            "fill or drop those rows first",
        )
    found = [column for column in columns.values() if column is not None]
    return np.stack(found, 1) if found else np.empty((len(frame), 0), np.float32)


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
