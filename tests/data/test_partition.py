"""Data is partitioned: every row is at one party, and notes say what a user should know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest

from fusion_nb import federate
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError, ModelError, SplitError

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
Partition = Callable[..., PartitionedData]


class TestRows:
    def test_every_row_is_at_one_party_as_training_or_test_row(self, partition: Partition) -> None:
        made = partition((X, Y), parties=3)
        rows = np.concatenate([np.concatenate([p.train[0], p.test[0]]) for p in made.parties])
        assert sorted(rows[:, 0]) == X[:, 0].tolist()
        assert [party.num_test for party in made.parties] == [1, 1, 1]

    def test_the_same_seed_gives_the_same_rows(self, partition: Partition) -> None:
        first, again, other = (partition((X, Y), parties=3, seed=seed) for seed in (7, 7, 8))
        for one, two in zip(first.parties, again.parties, strict=True):
            assert np.array_equal(one.train[0], two.train[0])
        assert not np.array_equal(first.parties[0].train[0], other.parties[0].train[0])

    def test_it_can_not_be_changed(self, partition: Partition) -> None:
        made = partition((X, Y))
        with pytest.raises(FrozenInstanceError):
            made.notes = ()  # type: ignore[misc]
        assert isinstance(made.parties, tuple)

    def test_parties_that_are_given_are_not_divided_again(self, partition: Partition) -> None:
        parties = [(X[:8], Y[:8]), ((X[8:], Y[8:]), (X[:2], Y[:2]))]
        made = partition(parties)
        assert [(party.id, party.num_examples, party.num_test) for party in made.parties] == [
            ("party 1", 6, 2),
            ("party 2", 12, 2),
        ]
        assert "split: as given, 2 parties" in made.notes
        with pytest.raises(SplitError, match="already split") as caught:
            partition(parties, split="shards")
        assert caught.value.option == "split"
        with pytest.raises(SplitError, match="the data has 2") as caught:
            partition(parties, parties=3)
        assert caught.value.option == "parties"


class TestKeys:
    TABLE = pd.DataFrame({"a": X[:, 0], "y": Y, "ward": np.where(X[:, 0] > 20, "east", "west")})

    def test_keys_name_parties(self, partition: Partition) -> None:
        made = partition(self.TABLE, split="by_key:key=ward")
        assert [party.id for party in made.parties] == ["east", "west"]
        assert len(partition(self.TABLE, split="by_key:key=ward", parties=1).parties) == 1
        with pytest.raises(SplitError, match="only 2 different values"):
            partition(self.TABLE, split="by_key:key=ward", parties=3)

    def test_a_key_can_be_an_array_of_ids(self, partition: Partition) -> None:
        made = partition((X, Y), {"writer": np.arange(20) // 5}, split="by_key:key=writer")
        assert list(made.sizes().values()) == [5, 5, 5, 5]
        with pytest.raises(SplitError, match="3 values for 20 rows"):
            partition((X, Y), {"short": [1, 2, 3]}, split="by_key:key=short")

    def test_rows_without_a_key_are_counted(self, partition: Partition) -> None:
        table = self.TABLE.assign(ward=["east", None] * 10)
        with pytest.raises(DataError, match="10 rows have no value of 'ward'"):
            partition(table, split="by_key:key=ward")


class TestNotes:
    def test_a_missing_class_and_untested_parties_are_told(self, partition: Partition) -> None:
        made = partition(((X[Y == 0], Y[Y == 0]), (X, Y)), parties=2, holdout=0)
        assert made.missing_classes() == ["1"]
        assert "2 of 2 parties have no test rows of their own" in made.notes[0]

    def test_a_class_number_that_is_skipped_is_missing(self, partition: Partition) -> None:
        assert partition((X, np.array([0, 1, 3, 3] * 5))).missing_classes() == ["2"]
        assert partition((X, np.arange(20) * 10.5)).missing_classes() == []

    @pytest.mark.parametrize(
        ("mark", "missing"), [(7, []), (-100, []), (None, ["2", "3", "4", "5", "6"])]
    )
    def test_a_label_that_a_loss_ignores_is_no_class(
        self, partition: Partition, mark: int | None, missing: list[str]
    ) -> None:
        y = np.array([0, 1, 7 if mark is None else mark, 1] * 5)
        assert partition((X, y)).missing_classes(mark) == missing

    def test_a_class_has_the_name_that_the_data_gave_it(self, partition: Partition) -> None:
        made = partition((X, np.where(Y, "yes", "no")))
        assert (made.class_name(1), made.class_name(7)) == ("yes", "7")

    def test_no_test_row_anywhere_is_refused(self, partition: Partition) -> None:
        with pytest.raises(DataError, match="no test row"):
            partition((X, Y), holdout=0)


class TestRowsThatDoNotFitAModel:
    """These rules are checked when a run is prepared."""

    def test_a_central_test_set_of_another_shape_is_refused(self) -> None:
        torch = pytest.importorskip("torch")
        with pytest.raises(DataError, match=r"rows of .* \(test rows\) have shape \(1,\)"):
            federate(torch.nn.Linear(2, 2), ((X, Y), (X[:, :1], Y)))

    def test_batch_norm_needs_two_training_rows_at_every_party(self) -> None:
        torch = pytest.importorskip("torch")
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        with pytest.raises(ModelError, match="fewer than the 2 training rows"):
            federate(model, (X, Y), parties=10)
