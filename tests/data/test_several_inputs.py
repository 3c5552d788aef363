"""Rows of several arrays, and rows that are dicts or more than two items, stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import fusion_nb
from fusion_nb.core import rows as rows_of
from fusion_nb.data.loading import Source
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError, FusionError

Read = Callable[..., Source]
Partition = Callable[..., PartitionedData]
A, B = np.random.default_rng(0).normal(size=(2, 40, 3))
Y = np.arange(40) % 3


class Items(Dataset[Any]):
    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> Any:
        return self.make(i)


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        (((A, B), Y), ("0", "1")),
        (({"a": A, "b": B}, Y), ("a", "b")),
        ((({"a": A, "b": B}, Y), ({"a": A, "b": B}, Y)), ("a", "b")),
        ([((A, B, B), Y)] * 2, ("0", "1", "2")),
        (Items(lambda i: (A[i], int(Y[i]), 0.5)), ("0", "1", "2")),
        (Items(lambda i: {"input_ids": A[i], "label": int(Y[i])}), ("input_ids", "label")),
        (Items(lambda i: {"p": A[i], "q": B[i]}), ("p", "q")),
    ],
)
def test_they_are_structured(partition: Partition, value: Any, columns: tuple[str, ...]) -> None:
    made = partition(value)
    rows = made.schema.rows
    assert (rows.kind, rows.columns) == ("structured", columns)
    assert rows.parts[0].shape == (3,)
    assert sum(made.sizes().values()) in (40, 80)


def test_labels_divide_them(partition: Partition) -> None:
    for value in (((A, B), Y), Items(lambda i: (A[i], B[i], int(Y[i])))):
        counts = partition(value, split="dirichlet").label_counts(with_test=True)
        assert sum(counts["party 1"].values())
        assert sum(sum(party.values()) for party in counts.values()) == 40


@pytest.mark.parametrize("x", [(A, B), {"a": A, "b": (B, A)}])
def test_rows_are_taken_and_joined_in_every_array(x: Any) -> None:
    data = (x, Y)
    assert rows_of.size(data) == 40
    some = rows_of.take(data, np.array([3, 1]))
    whole = rows_of.concat([some, rows_of.take(data, np.array([7]))])
    for found, given in zip(rows_of.leaves(whole[0]), rows_of.leaves(x), strict=True):
        assert np.array_equal(found, given[[3, 1, 7]])
    assert whole[1].tolist() == [0, 1, 1]
    assert rows_of.guarded(data) is data


def test_arrays_of_other_lengths_and_other_names_are_refused(read: Read) -> None:
    with pytest.raises(DataError, match="the input 'b' has 3 rows, and there are 40 labels"):
        read([({"a": A, "b": B[:3]}, Y)])
    with pytest.raises(DataError, match="the inputs of party 2 are a of"):
        read([({"a": A, "b": B}, Y), ({"a": A, "c": B}, Y)])
    with pytest.raises(DataError, match=r"written \(\(a, b\), y\)"):
        read(((A, B), (Y, Y)))


def test_a_model_of_one_input_is_told_which_it_gets() -> None:
    with pytest.raises(FusionError):
        fusion_nb.federate(torch.nn.Linear(3, 3), ({"a": A, "b": B}, Y), rounds=1)
