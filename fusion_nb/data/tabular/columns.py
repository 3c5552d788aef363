"""The columns of a DataFrame as plain arrays, and what each of them is."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from fusion_nb.core.facts import text_of
from fusion_nb.core.types.table import ColumnKind
from fusion_nb.errors import DataError, option, private

_DAY = np.timedelta64(1, "D")
#: Numbers beyond this have no finite square.
_MAX_NUMBER = 1e150
_NUMBERS = (int, float, np.number, np.bool_, Decimal)
_DATES = (datetime.date, np.datetime64)


@dataclass(frozen=True)
class ColumnForm:
    """The facts about a column at one party, or at all that were looked at.

    kind:  "empty" where no value is there
    order: the categories in the order that the user gave them, or ()
    is_numeric_text: whether all categories are text that is numbers
    """

    kind: ColumnKind | Literal["empty"]
    order: tuple[str, ...] = ()
    is_numeric_text: bool = False


@dataclass(frozen=True)
class Table:
    """The columns of a table by name, and the form of each. `where` is how messages call it."""

    where: str
    values: dict[str, np.ndarray]
    forms: Mapping[str, ColumnForm]


def read_table(frame: Any, where: str) -> Table:
    """Return the columns of a pandas DataFrame, whose names are text and unique.

    Numbers are float64 with NaN where one is missing, categories text with None. Blank text is
    missing, too. Raises DataError for columns that are neither numbers, categories nor dates.
    """
    found = {name: _read_column(frame[name], name, where) for name in frame.columns}
    values = {name: array for name, (_, array) in found.items()}
    return Table(where, values, {name: form for name, (form, _) in found.items()})


def category_order(column: Any) -> tuple[str, ...]:
    """Return the categories of a Categorical column in their own order, or () for any other."""
    dtype = getattr(column, "dtype", None)
    if type(dtype).__name__ != "CategoricalDtype":
        return ()
    return tuple(text_of(_plain(category)) for category in column.cat.categories)


def _read_column(column: Any, name: str, where: str) -> tuple[ColumnForm, np.ndarray]:
    dtype = column.dtype
    if type(dtype).__name__ == "CategoricalDtype":
        return _categorical(column, name, where)
    if type(dtype).__name__ == "PeriodDtype":
        column = column.dt.to_timestamp()
        dtype = column.dtype
    if dtype.kind == "M":
        return _form("date", _days(column))
    if dtype.kind == "m":
        return _form("number", _timedeltas(column))
    if dtype.kind == "b":
        return _form("flag", column.to_numpy(dtype=np.float64, na_value=np.nan))
    if dtype.kind in "iuf":
        return _form("number", _finite(_floats(column), name, where))
    if dtype.kind == "c":
        raise _refused(name, where, "complex numbers", "give the real and the imaginary part")
    return _objects(column, name, where)


def _form(kind: ColumnKind, values: np.ndarray) -> tuple[ColumnForm, np.ndarray]:
    return ColumnForm("empty" if np.isnan(values).all() else kind), values


def _floats(column: Any) -> np.ndarray:
    return np.array(column.to_numpy(dtype=np.float64, na_value=np.nan), np.float64)


def _finite(values: np.ndarray, name: str, where: str) -> np.ndarray:
    """Return numbers. Raises DataError for infinite and for enormous ones."""
    if count := int(np.isinf(values).sum()):
        raise _refused(
            name,
            where,
            f"{count} infinite values",
            f"make them missing first: frame[{name!r}].replace([numpy.inf, -numpy.inf], numpy.nan)",
        )
    if (np.abs(values[~np.isnan(values)]) > _MAX_NUMBER).any():
        raise _refused(
            name,
            where,
            f"numbers beyond {_MAX_NUMBER:g}, whose squares are infinite",
            f"give them in another unit, or numpy.log(frame[{name!r}])",
        )
    return values


def _categorical(column: Any, name: str, where: str) -> tuple[ColumnForm, np.ndarray]:
    order = category_order(column)
    if len({*order}) < len(order):
        twice = next(each for each in order if order.count(each) > 1)
        raise _refused(
            name,
            where,
            f"two categories that are both written {private(repr(twice))}",
            "rename one of them",
        )
    codes = column.cat.codes.to_numpy()
    names = np.array([*order, None], dtype=object)
    values = names[codes]  # the code of a missing value is -1, the last name
    return ColumnForm("category" if (codes >= 0).any() else "empty", order), values


def _objects(column: Any, name: str, where: str) -> tuple[ColumnForm, np.ndarray]:
    """Return a column of Python's own objects: text, numbers, flags or dates, and missing ones."""
    if (found := _texts(column)) is not None:
        return found
    is_missing = column.isna().to_numpy(dtype=bool)
    items = [_plain(item) for item in column.to_numpy(dtype=object)]
    is_blank = [isinstance(item, str) and not item.strip() for item in items]
    is_missing = is_missing | np.array(is_blank, dtype=bool)
    there = [item for item, gone in zip(items, is_missing, strict=True) if not gone]
    if not there:
        return ColumnForm("empty"), np.full(len(items), np.nan)
    if all(isinstance(item, str | bytes) for item in there):
        values = np.array(
            [None if gone else text_of(i) for i, gone in zip(items, is_missing, strict=True)],
            dtype=object,
        )
        return ColumnForm("category", is_numeric_text=_are_numbers(there)), values
    filled = [np.nan if gone else i for i, gone in zip(items, is_missing, strict=True)]
    if all(isinstance(item, bool | np.bool_) for item in there):
        return ColumnForm("flag"), np.array(filled, np.float64)
    if all(isinstance(item, _NUMBERS) for item in there):
        return ColumnForm("number"), _finite(np.array(filled, np.float64), name, where)
    if all(isinstance(item, _DATES) for item in there):
        return _dates(items, is_missing)
    raise _mixed(there, name, where)


def _texts(column: Any) -> tuple[ColumnForm, np.ndarray] | None:
    """Return a column of text alone, or None for any other: the common case, by its few names."""
    import pandas as pd

    if pd.api.types.infer_dtype(column, skipna=True) != "string":
        return None
    codes, found = pd.factorize(column)
    texts = [text if text.strip() else None for text in map(str, found)]
    values = np.array([*texts, None], dtype=object)[codes]  # the code of a missing one is -1
    there = [text for text in texts if text is not None]
    if not there:
        return ColumnForm("empty"), np.full(len(values), np.nan)
    return ColumnForm("category", is_numeric_text=_are_numbers(there)), values


def _dates(items: Sequence[Any], is_missing: np.ndarray) -> tuple[ColumnForm, np.ndarray]:
    import pandas as pd

    dates = [None if gone else i for i, gone in zip(items, is_missing, strict=True)]
    return _form("date", _days(pd.Series(pd.to_datetime(pd.Series(dates, dtype=object), utc=True))))


def _mixed(there: Sequence[Any], name: str, where: str) -> DataError:
    """Return the error for a column of objects of several types, or of types that are no values."""
    texts = [item for item in there if isinstance(item, str | bytes)]
    others = [item for item in there if not isinstance(item, str | bytes)]
    if texts and all(isinstance(item, _NUMBERS) for item in others):
        some = ", ".join(sorted({repr(text_of(text)) for text in texts})[:3])
        return _refused(
            name,
            where,
            f"text and numbers: {len(texts)} of {len(there)} are text ({private(some)})",
            f"for numbers pandas.to_numeric(frame[{name!r}], errors='coerce'), which makes the "
            f"text missing; for categories frame[{name!r}].astype(str)",
        )
    kinds = ", ".join(sorted({type(item).__name__ for item in others})[:3])
    return _refused(
        name,
        where,
        f"{kinds}, which are neither numbers, text nor dates" + (", and text" if texts else ""),
        f"drop the column, or make numbers or text of it; frame[{name!r}].astype(str) makes "
        "categories",
    )


def _days(column: Any) -> np.ndarray:
    """Return dates as days since 1970-01-01 in UTC, NaN where one is missing."""
    if getattr(column.dt, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    moments = column.to_numpy(dtype="datetime64[us]")
    return _in_days(moments - np.datetime64(0, "D"))


def _timedeltas(column: Any) -> np.ndarray:
    return _in_days(column.to_numpy(dtype="timedelta64[us]"))


def _in_days(spans: np.ndarray) -> np.ndarray:
    """Return spans of time in days; whole days and the rest apart, so that both are exact."""
    is_missing = np.isnat(spans)
    there = np.where(is_missing, np.timedelta64(0, "us"), spans)
    whole = there // _DAY
    return np.where(is_missing, np.nan, whole + (there - whole * _DAY) / _DAY)


def _are_numbers(texts: Sequence[Any]) -> bool:
    try:
        for text in texts:
            float(text)
    except ValueError:
        return False
    return True


def _plain(item: Any) -> Any:
    """Return what an array without an axis, or a scalar of arrow, holds; any other item itself."""
    if isinstance(item, np.ndarray) and item.ndim == 0:
        return item.item()
    return item


def _refused(name: str, where: str, what: str, hint: str) -> DataError:
    return DataError(
        f"{where}: the column {name!r} holds {what}",
        f"{hint}; or leave it out: frame.drop(columns={name!r})",
        option="tabular",
    )


def agree_on_forms(tables: Sequence[Table]) -> dict[str, ColumnForm]:
    """Return what each column is in all tables together, which have the same columns.

    Raises DataError, which names the tables, where a column is not the same in all.
    """
    return {name: _agree(name, tables) for name in tables[0].values}


def conform(table: Table, forms: Mapping[str, ColumnForm]) -> dict[str, np.ndarray]:
    """Return the columns of a table in the agreed forms, in their order."""
    return {name: _conformed(table.values[name], form) for name, form in forms.items()}


def _conformed(values: np.ndarray, form: ColumnForm) -> np.ndarray:
    if form.kind == "category" and values.dtype != object:  # a column without any value
        return np.full(len(values), None, dtype=object)
    if form.kind != "category" and values.dtype == object:
        return np.full(len(values), np.nan)
    return values


def _agree(name: str, tables: Sequence[Table]) -> ColumnForm:
    found = {table.where: table.forms[name] for table in tables}
    there = {where: form for where, form in found.items() if form.kind != "empty"}
    kinds = {form.kind for form in there.values()}
    if len(kinds) > 1 and kinds != {"flag", "number"}:
        first, *others = there.items()
        other = next(item for item in others if item[1].kind != first[1].kind)
        raise DataError(
            f"the column {name!r} is {_WORDS[first[1].kind]} at {first[0]}, and "
            f"{_WORDS[other[1].kind]} at {other[0]}",
            f"give all the same: frame[{name!r}].astype(str) makes categories, and "
            f"pandas.to_numeric(frame[{name!r}]) numbers; {option('tabular')} encodes either",
        )
    if not kinds:
        return ColumnForm("empty")
    kind: Any = "number" if len(kinds) > 1 else kinds.pop()
    order = dict.fromkeys(category for form in found.values() for category in form.order)
    is_text = all(form.is_numeric_text for form in there.values())
    return ColumnForm(kind, tuple(order), is_numeric_text=is_text)


_WORDS = {"number": "numbers", "flag": "flags", "date": "dates", "category": "categories"}
