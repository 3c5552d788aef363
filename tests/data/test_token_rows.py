"""Rows of tokens in the forms that tokenizers and data sets have, and how they are padded."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import numpy as np
import pytest

from fusion_nb.data import token_rows
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError

ROWS = [[5, 6, 7], [8, 9], [1, 2, 3, 4], [6, 6]]
MASK = [[1] * len(row) for row in ROWS]
PADDED = np.array([[5, 6, 7, 0], [8, 9, 0, 0], [1, 2, 3, 4], [6, 6, 0, 0]])
ATTENDED = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
LABELS = [0, 1, 1, 0]


class Columns:
    """A data set by columns, as the package datasets has it."""

    def __init__(self, **columns: Any) -> None:
        self._columns, self.column_names = columns, list(columns)

    def __len__(self) -> int:
        return len(self._columns["input_ids"])

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._columns[key]
        return {name: values[key] for name, values in self._columns.items()}


class Items:
    """A data set of single rows, each a dict of lists."""

    def __init__(self, **columns: Any) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns["input_ids"])

    def __getitem__(self, row: int) -> Any:
        return {name: values[row] for name, values in self._columns.items()}


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        Items(input_ids=ROWS, attention_mask=MASK),
        {"input_ids": ROWS},
        {"input_ids": PADDED, "attention_mask": ATTENDED},
        UserDict({"input_ids": ROWS, "attention_mask": MASK}),
        Columns(input_ids=ROWS, attention_mask=MASK, text=["a", "b", "c", "d"]),
        [{"input_ids": row, "attention_mask": mask} for row, mask in zip(ROWS, MASK, strict=True)],
    ],
    ids=["lists", "items", "dict", "arrays", "encoding", "dataset", "dicts"],
)
def test_every_form_gives_the_same_rows_and_tokens_as_labels(given: Any) -> None:
    notes: list[str] = []
    x, y = token_rows.read(given, notes)
    assert np.array_equal(x["input_ids"], PADDED)
    assert np.array_equal(x["attention_mask"], ATTENDED)
    assert np.array_equal(y, np.where(ATTENDED, PADDED, -100))
    assert {*x} == {"input_ids", "attention_mask"}
    assert any("the tokens themselves" in note for note in notes)


@pytest.mark.parametrize(
    "given",
    [
        {"input_ids": ROWS, "labels": LABELS},
        ({"input_ids": ROWS}, np.array(LABELS)),
        Columns(input_ids=ROWS, label=LABELS),
        Items(input_ids=ROWS, label=LABELS),
        [{"input_ids": row, "label": y} for row, y in zip(ROWS, LABELS, strict=True)],
    ],
    ids=["dict", "pair", "dataset", "items", "dicts"],
)
def test_given_labels_are_taken(given: Any) -> None:
    notes: list[str] = []
    x, y = token_rows.read(given, notes)
    assert np.array_equal(x["input_ids"], PADDED)
    assert y.tolist() == LABELS
    assert any("padded to 4 on the right" in note for note in notes)
    assert not any("the tokens themselves" in note for note in notes)


def test_labels_of_each_token_are_padded_with_the_mark() -> None:
    _, y = token_rows.read({"input_ids": ROWS, "labels": ROWS}, [])
    assert np.array_equal(y, np.where(ATTENDED, PADDED, -100))


def test_all_parties_and_the_test_set_have_one_length() -> None:
    columns = [{"input_ids": rows} for rows in (ROWS[:2], ROWS[3:], ROWS[2:3])]
    found = token_rows.read((columns[:2], columns[2]), [])
    parties, test = found
    assert [x["input_ids"].shape for x, _ in (*parties, test)] == [(2, 4), (1, 4), (1, 4)]
    listed = token_rows.read([ROWS[:2], ROWS[2:]], [])
    assert [x["input_ids"].shape for x, _ in listed] == [(2, 4), (2, 4)]
    named = token_rows.read({"a": {"input_ids": ROWS[:2]}, "b": ROWS[2:]}, [])
    assert [x["input_ids"].shape for x, _ in named.values()] == [(2, 4), (2, 4)]


@pytest.mark.parametrize(
    "given",
    [
        np.ones((4, 3)),
        (np.ones((4, 3)), np.zeros(4)),
        [(np.ones((4, 3)), np.zeros(4))],
        {"a": (np.ones((4, 3)), np.zeros(4))},
        ["some text", "more of it"],
        [["some", "words"], ["more"]],
        [(1, 2), (3, 4)],
        [[0.5, 1.5], [2.5]],
        None,
        ([[1, 2], [3, 4]], [0, 1]),
        ([[1, 2], [3, 4]], [[0, 1], [1, 0]]),
        ([[1, 2], [3, 4]], [[0, 1]]),
        ([[[1, 2]], [[3, 4]]], [0, 1]),
    ],
)
def test_other_data_is_left_alone(given: Any) -> None:
    notes: list[str] = []
    assert token_rows.read(given, notes) is None
    assert notes == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input_ids": ROWS, "labels": LABELS[:2]}, "'labels' has 2 rows"),
        ({"input_ids": ROWS, "token_type_ids": [[0], [0, 0], [0], [0]]}, "'token_type_ids'"),
        ({"input_ids": []}, "no rows of tokens"),
    ],
)
def test_columns_that_do_not_belong_together_are_refused(given: Any, words: str) -> None:
    with pytest.raises(DataError) as error:
        token_rows.read(given, [])
    assert words in str(error.value)


def test_parties_are_made_of_them() -> None:
    made = PartitionedData.load(
        {"data": ROWS * 5},
        data="data",
        data_handler="",
        label="",
        split="iid",
        parties=2,
        holdout=0.2,
        seed=0,
    )
    assert [party.num_examples + party.num_test for party in made.parties] == [10, 10]
    assert made.parties[0].train[0]["input_ids"].shape[1] == 4
    assert any("padded" in note for note in made.notes)
