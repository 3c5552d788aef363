"""A value of a notebook is recognised once: which kind of rows it holds, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_nb.data import source_kinds
from fusion_nb.data.source_kinds import Columns, Items, Parties, Pool, Table, Texts
from fusion_nb.errors import DataError

X, Y = np.arange(8.0).reshape(4, 2), np.arange(4) % 2
SENTENCES = ["one two", "three four", "five six", "seven eight"]
WORDS = [["one", "two"], ["three", "four"]]
TABLE = pd.DataFrame({"a": [1, 2], "y": [0, 1]})


@dataclass
class Tagged:
    words: list[str]
    tags: list[str]


class MapStyle:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Any:
        return X[i], Y[i]


def kinds(pool: Pool) -> tuple[type, type | None]:
    return type(pool.train), None if pool.test is None else type(pool.test)


@pytest.mark.parametrize(
    ("value", "train", "test"),
    [
        ((X, Y), Columns, None),
        (((X, Y), None), Columns, None),
        (((X, Y), (X, Y)), Columns, Columns),
        ({"x_train": X, "y_train": Y}, Columns, None),
        ({"data": SENTENCES, "target": Y}, Texts, None),
        (TABLE, Table, None),
        ((TABLE, TABLE), Table, Table),
        ((TABLE[["a"]], TABLE[["y"]]), Columns, None),
        ((TABLE, TABLE[["a"]]), Table, Table),
        (MapStyle(), Items, None),
        ((MapStyle(), MapStyle()), Items, Items),
        (SENTENCES, Texts, None),
        (WORDS, Texts, None),
        ([Tagged(["one"], ["1"])], Texts, None),
        (pd.Series(SENTENCES), Texts, None),
        ((SENTENCES, Y), Texts, None),
        ((SENTENCES, ["north sea"] * 4), Texts, None),
        ((SENTENCES, SENTENCES[:2]), Texts, Texts),
        ((WORDS, WORDS), Texts, Texts),
        (((SENTENCES, Y), (SENTENCES, Y)), Texts, Texts),
        ((tuple(SENTENCES), None), Texts, None),
    ],
)
def test_one_data_set(value: Any, train: type, test: type | None) -> None:
    found = source_kinds.recognise(value, "value")
    assert isinstance(found, Pool)
    assert kinds(found) == (train, test)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([(X, Y), (X, Y)], ["party 1", "party 2"]),
        ({"a": (X, Y), 7: MapStyle()}, ["a", "7"]),
        ({"a": ((X, Y), (X, Y))}, ["a"]),
        ([SENTENCES, SENTENCES], ["party 1", "party 2"]),
        ([TABLE, TABLE], ["party 1", "party 2"]),
        ([], []),
    ],
)
def test_lists_and_dicts_are_parties(value: Any, names: list[str]) -> None:
    found = source_kinds.recognise(value, "value")
    assert isinstance(found, Parties)
    assert list(found.pools) == names
    assert found.test is None


@pytest.mark.parametrize(
    ("test", "kind"), [((X, Y), Columns), (TABLE, Table), (MapStyle(), Items), (SENTENCES, Texts)]
)
def test_parties_may_come_with_the_test_rows_of_the_aggregator(test: Any, kind: type) -> None:
    found = source_kinds.recognise(({"a": (X, Y)}, test), "value")
    assert isinstance(found, Parties)
    assert isinstance(found.test, kind)


@pytest.mark.parametrize(
    "value", [(X, Y, X), ((X, Y, X), None), [(X, Y, X)], ({"a": (X, Y)}, (X,))]
)
def test_a_tuple_of_another_length_than_two_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"holds a tuple of [13]") as caught:
        source_kinds.recognise(value, "value")
    assert caught.value.option == "data"
