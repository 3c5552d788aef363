"""DataFrames: which column is the label, and which columns are the rows."""

from __future__ import annotations

from collections.abc import Sequence
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
    _check_numeric(frame, name, features)
    x = frame[features].to_numpy(dtype=np.float32)
    return Columns(x, frame[chosen].to_numpy(), tuple(features)), (_label_note(chosen),)


def _with_text_names(frame: Any, name: str) -> Any:
    """Return a DataFrame whose columns can be named on the option line: as text, each once."""
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


def _check_numeric(frame: Any, name: str, features: Sequence[str]) -> None:
    words = [column for column in features if frame[column].dtype.kind not in "biuf"]
    if words:
        raise DataError(
            f"the DataFrame {name!r} has columns that are not numbers: {', '.join(words)}",
            "drop them or encode them first, with pandas.get_dummies say",
        )


def _label_note(column: str) -> str:
    return f"label: the column {column!r}"
