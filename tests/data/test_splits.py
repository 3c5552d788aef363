"""Splits divide rows among parties, and hold test rows back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion_nb.data import splits
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import FusionError, OptionError, SplitError, python_spelling

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
Partition = Callable[..., PartitionedData]


class TestHoldout:
    def test_the_number_is_exact_and_each_class_gives_its_share(self) -> None:
        y = np.repeat([0, 1], [80, 20])
        train, test = splits.holdout(y, np.arange(100), 0.2, np.random.default_rng(0))
        assert (len(train), len(test)) == (80, 20)
        assert np.bincount(y[test]).tolist() == [16, 4]
        assert sorted([*train, *test]) == list(range(100))

    @pytest.mark.parametrize(("num_rows", "num_test"), [(1, 0), (2, 1), (3, 1), (10, 2)])
    def test_a_small_party_keeps_a_training_row(self, num_rows: int, num_test: int) -> None:
        labels = np.zeros(num_rows, int)
        train, test = splits.holdout(labels, np.arange(num_rows), 0.2, np.random.default_rng(0))
        assert (len(train), len(test)) == (num_rows - num_test, num_test)


class TestShapes:
    def test_shards_give_few_classes(self, partition: Partition) -> None:
        y = np.repeat(np.arange(10), 20)
        made = partition(
            (np.zeros((200, 1)), y), parties=10, split="shards:per_party=2", holdout=0.1
        )
        counts = made.label_counts(with_test=True)
        assert all(sum(count > 0 for count in row.values()) <= 2 for row in counts.values())

    def test_a_small_alpha_is_uneven_and_a_large_alpha_is_even(self, partition: Partition) -> None:
        y = np.repeat(np.arange(4), 100)

        def spread(alpha: float) -> float:
            made = partition((np.zeros((400, 1)), y), split=f"dirichlet:alpha={alpha}")
            counts = made.label_counts(with_test=True)
            return float(np.std([list(row.values()) for row in counts.values()]))

        assert spread(0.1) > 1.5 * spread(1) > 3 * spread(100)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"parties": 21}, "only 20 rows"),
            ({"parties": 15, "split": "dirichlet:alpha=0.01"}, "parties without rows"),
            ({"split": "shards:per_party=0"}, "not allowed"),
            ({"split": "by_key"}, "needs the option 'key'"),
            ({"split": "by_key:key=gone"}, "no column and no variable 'gone'"),
        ],
    )
    def test_impossible_options_are_refused(
        self, partition: Partition, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(FusionError) as caught:
            partition((X, Y), **options)
        assert message in caught.value.message

    def test_the_error_names_the_option_and_its_value(self, partition: Partition) -> None:
        with pytest.raises(SplitError) as caught:
            partition((X, Y), parties=21)
        assert (caught.value.option, caught.value.value) == ("parties", "21")
        assert caught.value.spelled(python_spelling).message.startswith("parties=21, but")
        with pytest.raises(SplitError) as caught:
            partition((X, Y), parties=15, split="dirichlet:alpha=0.01")
        assert (caught.value.option, caught.value.value) == ("split", "dirichlet:alpha=0.01")

    def test_measurements_are_not_divided_by_class(self) -> None:
        with pytest.raises(SplitError, match="these labels are measurements"):
            splits.dirichlet(Y + 0.5, 2, np.random.default_rng(0))


class TestSplitsOfOnesOwn:
    def test_overlapping_parts_are_refused(self, partition: Partition) -> None:
        @splits.split
        def overlapping(
            labels: np.ndarray, num_parties: int, rng: np.random.Generator
        ) -> list[np.ndarray]:
            return [np.arange(len(labels))] * num_parties

        with pytest.raises(SplitError, match="exactly one of 2 parties"):
            partition((X, Y), split="overlapping", parties=2)

    @pytest.mark.parametrize("wrong", [None, [[0.0], [1.0]], 7])
    def test_anything_but_row_indices_is_refused(self, partition: Partition, wrong: Any) -> None:
        @splits.split(name="nonsense")
        def returns(labels: np.ndarray, num_parties: int, rng: np.random.Generator) -> Any:
            return wrong

        with pytest.raises(SplitError, match="exactly one of 2 parties"):
            partition((X, Y), split="nonsense", parties=2)

    def test_a_function_with_other_parameters_is_no_split(self) -> None:
        with pytest.raises(OptionError, match="can't be a split"):
            splits.split(lambda labels: labels)
