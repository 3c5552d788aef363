"""Data sets that declare no number of rows, or far too many: one line, and no row is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

from fusion_nb import RunSpec
from fusion_nb.core.own_rows.reading import MOST_ROWS, VARIABLE, size_of
from fusion_nb.errors import DataError
from fusion_nb.runs.run import Run


class Declared:
    """40 rows that may say another number; it counts the rows that are read."""

    def __init__(self, length: Any = 40) -> None:
        self.length, self.num_read = length, 0

    def __len__(self) -> Any:
        return self.length() if callable(self.length) else self.length

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        self.num_read += 1
        assert self.num_read < 1_000, "all that is declared is read"
        return np.full(4, row, np.float32), row % 2


def alone(odd: Declared) -> Any:
    return odd


def of_a_party(odd: Declared) -> Any:
    return {"north": Declared(), "south": odd}


def as_test(odd: Declared) -> Any:
    return (Declared(), odd)


def made(data: Any) -> Run:
    spec = RunSpec(data="data", rounds=1)
    return Run(spec, {"model": nn.Linear(4, 2), "data": data})


def refused(data: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        made(data)
    assert len(caught.value.message.splitlines()) == 1
    return caught.value


@pytest.mark.parametrize("place", [alone, of_a_party, as_test])
@pytest.mark.parametrize("length", [MOST_ROWS + 1, 10**12, 2**62])
def test_more_rows_than_can_be_read_are_refused(
    length: int, place: Callable[[Declared], Any]
) -> None:
    odd = Declared(length)
    error = refused(place(odd))
    assert f"declares {length:,} rows by __len__, and {MOST_ROWS:,} are allowed" in str(error)
    assert VARIABLE in str(error)
    assert odd.num_read <= 2


@pytest.mark.parametrize("place", [alone, of_a_party, as_test])
@pytest.mark.parametrize("length", [-1, 3.0, float("nan"), "x", None, 2**63, 2**100])
def test_a_length_that_is_no_number_of_rows_is_refused(
    length: Any, place: Callable[[Declared], Any]
) -> None:
    error = refused(place(Declared(length)))
    assert "does not tell its length" in str(error)
    assert "let __len__ return the number of rows" in str(error)


def test_a_length_that_grows_to_too_many_is_refused_as_well() -> None:
    asked = [0]

    def length() -> int:
        asked[0] += 1
        return 40 if asked[0] % 2 else 10**12

    odd = Declared(length)
    assert "declares 1,000,000,000,000 rows" in str(refused(odd))
    assert odd.num_read <= 50


def test_a_number_of_numpy_is_a_length() -> None:
    assert made(Declared(np.int64(40))).start().wait().status == "finished"


def test_the_limit_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Declared(MOST_ROWS + 5)
    monkeypatch.setenv(VARIABLE, f"{MOST_ROWS + 4}")
    with pytest.raises(DataError):
        size_of(odd)
    monkeypatch.setenv(VARIABLE, f"{MOST_ROWS + 5:_}")
    assert size_of(odd) == MOST_ROWS + 5
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(DataError):
        size_of(odd)
