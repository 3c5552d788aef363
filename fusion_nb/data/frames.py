"""Frames of other libraries than pandas, read as those of pandas are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fusion_nb.errors import DataError


def is_frame(value: Any) -> bool:
    """Return whether a value is a table of pandas, polars or pyarrow, none of which is imported."""
    return _library(value) != ""


def to_pandas(value: Any) -> Any:
    """Return a table of pandas, polars or pyarrow as a DataFrame of pandas; None for any other.

    Raises DataError for a frame of polars that is not collected yet.
    """
    library = _library(value)
    if not library:
        return None
    if library == "pandas":
        return value
    if type(value).__name__ == "LazyFrame":
        raise DataError("a LazyFrame of polars holds no rows yet", "give frame.collect()")
    read = _of_polars if library == "polars" else _of_arrow
    return _frame(read, value)


def with_text_names(frame: Any, where: str) -> Any:
    """Return a DataFrame whose columns can be named on the option line: as text, each once.

    where: how messages call the frame. Raises DataError where two columns have one name.
    """
    if frame.columns.nlevels > 1:
        joined = ["_".join(str(level) for level in names if level != "") for names in frame.columns]
        frame = frame.set_axis(joined, axis=1)
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{where} has two columns {twice!r}", "rename one of them")
    return frame


_NAMES = {
    "pandas": ("DataFrame",),
    "polars": ("DataFrame", "LazyFrame"),
    "pyarrow": ("Table", "RecordBatch"),
}


def _library(value: Any) -> str:
    for base in type(value).__mro__:
        library = base.__module__.partition(".")[0]
        if base.__name__ in _NAMES.get(library, ()):
            return library
    return ""


def _frame(read: Callable[[Any], Any], value: Any) -> Any:
    import pandas as pd

    is_arrow = _library(value) == "pyarrow"
    names = list(value.schema.names) if is_arrow else list(value.columns)
    # By position, since names of arrow may be there twice.
    columns = [read(value[i] if is_arrow else value[name]) for i, name in enumerate(names)]
    return pd.DataFrame(dict(enumerate(columns))).set_axis(names, axis=1)


def _of_polars(column: Any) -> Any:
    """Return a column of polars as one of pandas that holds the same values."""
    import pandas as pd

    kind = str(column.dtype).partition("(")[0]
    if kind in ("Categorical", "Enum"):
        texts = column.cast(str).to_list()
        order = list(column.dtype.categories) if kind == "Enum" else sorted({*texts} - {None})
        return pd.Series(pd.Categorical(texts, order))
    if kind in ("String", "Utf8", "Boolean", "Decimal", "Object", "List", "Struct", "Null"):
        return _plain(column.to_list(), kind == "Boolean")
    return pd.Series(column.to_numpy())


def _of_arrow(column: Any) -> Any:
    """Return a column of pyarrow as one of pandas that holds the same values."""
    import pandas as pd

    kind = str(column.type)
    if kind.startswith("dictionary"):
        whole = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        return whole.to_pandas()
    if kind.startswith(("int", "uint")) and column.null_count:
        return pd.Series(column.to_pylist(), dtype="Int64")
    if kind in ("bool", "string", "large_string"):
        return _plain(column.to_pylist(), kind == "bool")
    return column.to_pandas()


def _plain(values: list[Any], are_flags: bool) -> Any:
    """Return Python's own values as a column of pandas: whole flags as bool, others as objects."""
    import pandas as pd

    if are_flags and all(value is not None for value in values):
        return pd.Series(values, dtype=bool)
    return pd.Series(values, dtype=object)
