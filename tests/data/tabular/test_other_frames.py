"""Frames of polars and pyarrow are read as the same frame of pandas is, to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clinic_tables import clinic

from fusion_nb.data.loading import Source
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError

Partition = Callable[..., PartitionedData]


def of_polars(frame: pd.DataFrame) -> Any:
    pytest.importorskip("pyarrow")
    return pytest.importorskip("polars").from_pandas(frame)


def of_arrow(frame: pd.DataFrame) -> Any:
    return pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False)


def in_batches(frame: pd.DataFrame) -> Any:
    pa = pytest.importorskip("pyarrow")
    return pa.concat_tables([of_arrow(frame[:100]), of_arrow(frame[100:])])


def with_dictionaries(frame: pd.DataFrame) -> Any:
    return of_arrow(frame.assign(city=frame["city"].astype("category")))


def with_enums(frame: pd.DataFrame) -> Any:
    found, pl = of_polars(frame), pytest.importorskip("polars")
    return found.with_columns(pl.col("city").cast(pl.Enum(["Bonn", "Oslo", "Rome"])))


def with_categoricals(frame: pd.DataFrame) -> Any:
    found, pl = of_polars(frame), pytest.importorskip("polars")
    return found.with_columns(pl.col("city").cast(pl.Categorical()))


@pytest.mark.parametrize(
    "convert", [of_polars, of_arrow, in_batches, with_dictionaries, with_enums, with_categoricals]
)
@pytest.mark.parametrize("tabular", ["auto", "auto:impute=median,scale=none"])
def test_they_are_the_same_data(
    partition: Partition, convert: Callable[[pd.DataFrame], Any], tabular: str
) -> None:
    frame = clinic()
    options = {"label": "sick", "split": "by_key:hospital", "tabular": tabular}
    expected, found = partition(frame, **options), partition(convert(frame), **options)
    assert found.schema == expected.schema
    for party, other in zip(expected.parties, found.parties, strict=True):
        assert party.id == other.id
        assert np.array_equal(party.train[0], other.train[0])
        assert np.array_equal(party.test[0], other.test[0])
        assert np.array_equal(party.train[1], other.train[1])


@pytest.mark.parametrize("convert", [of_polars, of_arrow])
def test_so_are_frames_of_numbers_without_the_option(
    read: Callable[..., Source], convert: Callable[[pd.DataFrame], Any]
) -> None:
    frame = pd.DataFrame({"a": [1.5, 2], "b": [3, 4], "c": [True, False], "y": [0, 1]})
    for shape in (lambda f: f, lambda f: [f, f], lambda f: {"n": f}, lambda f: (f, f)):
        expected, found = read(shape(frame)), read(shape(convert(frame)))
        assert found.schema == expected.schema
        assert found.notes == expected.notes
    rows = convert(frame[["a", "b"]])
    assert read((rows, np.array([0, 1]))).train[0].tolist() == [[1.5, 3], [2, 4]]


def test_a_frame_that_is_not_collected_yet(read: Callable[..., Source]) -> None:
    with pytest.raises(DataError, match="LazyFrame") as caught:
        read(of_polars(clinic()).lazy(), label="sick")
    assert "collect()" in caught.value.hint


@pytest.mark.parametrize("convert", [of_polars, of_arrow])
def test_missing_values_are_named_in_them_too(
    read: Callable[..., Source], convert: Callable[[pd.DataFrame], Any]
) -> None:
    with pytest.raises(DataError) as caught:
        read(convert(clinic()), label="sick")
    assert "city (text), joined (dates), hospital (text)" in caught.value.message
    assert "missing values, in the columns age, visits, city" in caught.value.message
    assert "--tabular auto" in caught.value.hint
