"""A column of any type that frames have is a number, a flag, a date or a category, or is named."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_nb.data.tabular.columns import agree_on_forms, conform, read_table
from fusion_nb.errors import DataError

DAY = 18262.0  # of 2020-01-01


def column(values: Any) -> tuple[str, list[Any]]:
    table = read_table(pd.DataFrame({"c": values}), "the frame")
    values = table.values["c"].tolist()
    return table.forms["c"].kind, [None if v is None or v != v else v for v in values]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2], "number", [1, 2]),
        ([1, np.nan], "number", [1, None]),
        (pd.array([1, pd.NA], dtype="Int64"), "number", [1, None]),
        (pd.array([1.5, pd.NA], dtype="Float32"), "number", [1.5, None]),
        (pd.arrays.SparseArray([0.0, 3.0]), "number", [0, 3]),
        (np.array([1, 2.5], dtype=object), "number", [1, 2.5]),
        ([Decimal("1.5"), None], "number", [1.5, None]),
        (np.array([True, 2, None], dtype=object), "number", [1, 2, None]),
        ([True, False], "flag", [1, 0]),
        (pd.array([True, pd.NA], dtype="boolean"), "flag", [1, None]),
        (np.array([True, None], dtype=object), "flag", [1, None]),
        (["a", None, np.nan, "", "  "], "category", ["a", None, None, None, None]),
        (pd.array(["a", pd.NA], dtype="string"), "category", ["a", None]),
        ([b"a", "b"], "category", ["a", "b"]),
        (np.array([np.array("a"), np.str_("b")], dtype=object), "category", ["a", "b"]),
        (pd.Categorical(["b", None, "a"]), "category", ["b", None, "a"]),
        (pd.Categorical([2, 1]), "category", ["2", "1"]),
        (pd.cut([1, 5], [0, 2, 9]), "category", ["(0, 2]", "(2, 9]"]),
        (pd.to_datetime(["2020-01-01 12:00", None]), "date", [DAY + 0.5, None]),
        (pd.to_datetime(["2020-01-01 01:00+01:00"]), "date", [DAY]),
        (pd.to_datetime(["1500-01-01"]).as_unit("s"), "date", [-171664]),
        (pd.period_range("2020-01-01", periods=1, freq="D"), "date", [DAY]),
        ([datetime.date(2020, 1, 1), None], "date", [DAY, None]),
        (pd.to_timedelta([36, None], unit="h"), "number", [1.5, None]),
        ([None, None], "empty", [None, None]),
        ([np.nan, np.nan], "empty", [None, None]),
        (pd.array([pd.NA], dtype="Int64"), "empty", [None]),
        (pd.Categorical([None], ["a"]), "empty", [None]),
    ],
)
def test_a_column_is_read(values: Any, kind: str, expected: list[Any]) -> None:
    assert column(values) == (kind, expected)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, np.inf], "1 infinite values"),
        (np.array([1.0, -np.inf], dtype=object), "1 infinite values"),
        ([1e200, 1.0], r"numbers beyond 1e\+150"),
        ([1 + 2j, 3], "complex numbers"),
        ([1, 2.5, "?"], r"text and numbers: 1 of 3 are text"),
        ([[1, 2], [3]], "list, which are neither"),
        ([{"a": 1}, "b"], "dict, which are neither"),
        ([datetime.time(1), datetime.time(2)], "time, which are neither"),
        (pd.Categorical([1, "1"], [1, "1"]), "two categories that are both written '1'"),
    ],
)
def test_a_column_that_is_nothing_of_that_is_named_with_what_to_do(values: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        column(values)
    assert "'c'" in caught.value.message
    assert "frame" in caught.value.hint


def test_what_a_message_says_of_the_rows_is_private() -> None:
    with pytest.raises(DataError) as caught:
        column([1, "unknown to Alice"])
    assert "Alice" in caught.value.message
    assert "Alice" not in caught.value.redacted().message


def agreed(*columns: Any) -> Any:
    tables = [read_table(pd.DataFrame({"c": c}), f"party {i}") for i, c in enumerate(columns)]
    forms = agree_on_forms(tables)
    return forms["c"].kind, [conform(table, forms)["c"].tolist() for table in tables]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (([1, 2], [1.5, np.nan]), "number"),
        (([True, False], [0, 1]), "number"),
        (([1, 2], [None, None]), "number"),
        (([None, None], ["a", "b"], pd.Categorical(["b"])), "category"),
        (([np.nan], [True]), "flag"),
        (([None], pd.to_datetime(["2020-01-01"])), "date"),
    ],
)
def test_parties_agree_where_one_lacks_values_or_writes_them_otherwise(
    columns: Any, kind: str
) -> None:
    found, values = agreed(*columns)
    assert found == kind
    types = {type(v) for part in values for v in part if v is not None}
    assert types == ({str} if kind == "category" else {float})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ((["a"], [1]), "is categories at party 0, and numbers at party 1"),
        (([1], [2], ["3"]), "is numbers at party 0, and categories at party 2"),
        (([None], pd.Categorical([1]), [1]), "is categories at party 1, and numbers at party 2"),
        ((pd.to_datetime(["2020-01-01"]), ["2020-01-01"]), "is dates at party 0"),
        (([True], ["yes"]), "is flags at party 0, and categories"),
    ],
)
def test_parties_that_mean_something_else_are_named(columns: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        agreed(*columns)
