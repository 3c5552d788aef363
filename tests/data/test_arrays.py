"""Rows and labels of any origin become arrays, and labels have one form over all data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion_nb.core import rows as rows_of
from fusion_nb.data.loading import Source
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError, SplitError

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
Read = Callable[..., Source]
Partition = Callable[..., PartitionedData]


class Items:
    """A map-style data set without targets."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        return X[i].astype(np.float32), int(Y[i])


class TestLabels:
    def test_words_become_numbers_with_names(self, read: Read) -> None:
        source = read(((X, np.where(Y, "yes", "no")), (X[:2], np.array(["no", "yes"]))))
        assert source.classes == ("no", "yes")
        assert source.train[1].tolist() == Y.tolist()
        assert source.test[1].tolist() == [0, 1]
        assert read((X, np.where(Y, b"yes", b"no"))).classes == ("no", "yes")

    def test_measurements_stay_measurements(self, read: Read) -> None:
        labels = read((X, Y + 0.5)).train[1]
        assert labels.dtype == np.float64
        assert not rows_of.is_classes(labels)

    def test_one_hot_labels_are_counted_as_classes(self, read: Read) -> None:
        for labels in (np.eye(2)[Y], Y[:, None], Y.astype(bool)):
            numbered = read((X, labels)).train[1]
            assert rows_of.label_counts(numbered) == {0: 10, 1: 10}

    def test_words_and_numbers_are_not_mixed(self, read: Read) -> None:
        words = np.where(Y, "yes", "no")
        for mixed in ([(X, Y), (X, words)], ((X, Y), (X, words)), ((X, words), (X, Y))):
            with pytest.raises(DataError, match="are of another form"):
                read(mixed)

    def test_a_label_in_an_error_is_hidden_from_those_who_do_not_own_the_data(
        self, read: Read
    ) -> None:
        with pytest.raises(DataError) as caught:
            read(((X, ["a"] * 20), (X, ["secret"] * 20)))
        line = "value (test rows): the label {} is in no training row"
        assert caught.value.message == line.format("'secret'")
        assert caught.value.redacted().message == line.format("'...'")


class TestOneFormOverAllDataSets:
    """The form of labels is decided over all rows, not by how one party's rows look."""

    def test_several_labels_for_each_row_at_many_small_parties(self, partition: Partition) -> None:
        rng = np.random.default_rng(0)
        y = (rng.random((60, 4)) < 0.3).astype(int)
        pool = (rng.normal(size=(60, 3)), y)
        made = partition(pool, parties=20)
        assert all(train.ndim == 2 for train, _ in made.labels.values())
        one_hot, several = np.eye(2, dtype=int)[[0, 1, 0]], np.array([[1, 1], [0, 0], [1, 0]])
        given = partition([(X[:3], one_hot), (X[:3], several)])
        assert {train.shape[1:] for train, _ in given.labels.values()} == {(2,)}
        with pytest.raises(SplitError, match="several labels each"):
            partition(pool, split="dirichlet")

    def test_a_test_set_that_looks_one_hot_among_several_labels(
        self, read: Read, partition: Partition
    ) -> None:
        several = np.array([[1, 1, 0], [0, 0, 0]] * 10)
        value = ((X, several), (X[:3], np.eye(3, dtype=int)))
        assert read(value).labels["", "test"].shape == (3, 3)
        assert partition(value).all_labels().ndim == 2

    def test_measurements_that_are_whole_at_one_party_stay_measurements(
        self, partition: Partition
    ) -> None:
        whole, others = np.array([1.0, 2.0, 1.0, 2.0]), np.array([1.5, 2.0, 1.0, 2.5])
        made = partition([(X[:4], whole), (X[:4], others)])
        assert made.label_counts(with_test=True) == {"party 1": {}, "party 2": {}}


class TestDataSets:
    def test_a_dataset_is_read_once(self, partition: Partition) -> None:
        class Counting(Items):
            num_read = 0

            def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
                type(self).num_read += 1
                return super().__getitem__(i)

        made = partition(Counting(), parties=4)
        made.label_counts(with_test=True)
        assert Counting.num_read == 1 + 12  # the first row shows whether they are tokens

    def test_stored_targets_are_used_only_if_they_equal_the_labels_of_the_items(self) -> None:
        class Shifted(Items):
            targets = Y[:12] + 1

        class Without(Items):
            targets = None

        assert rows_of.stored_labels(Shifted()).tolist() == Y[:12].tolist()
        assert rows_of.stored_labels(Without()).tolist() == Y[:12].tolist()

    @pytest.mark.parametrize("bad", [[1] * 4, [(1,)] * 4, ["row"] * 4])
    def test_a_dataset_without_pairs_is_refused(self, read: Read, bad: Any) -> None:
        class Odd:
            def __len__(self) -> int:
                return len(bad)

            def __getitem__(self, i: int) -> Any:
                return bad[i]

        with pytest.raises(DataError, match=r"is not a pair \(x, y\)"):
            read(Odd())


class TestColumns:
    def test_sparse_rows_are_refused(self, read: Read) -> None:
        sparse = pytest.importorskip("scipy.sparse")
        with pytest.raises(DataError, match="sparse"):
            read((sparse.csr_matrix(X), Y))

    def test_arrays_become_native_writable_and_contiguous(self, read: Read) -> None:
        assert read((X.astype(">f8"), Y)).train[0].dtype.isnative
        locked = X.copy()
        locked.flags.writeable = False
        assert read((locked, Y)).train[0].flags.writeable
        assert read((X, Y[::-1])).train[1].flags.c_contiguous

    def test_bfloat16_becomes_float32(self, read: Read) -> None:
        torch = pytest.importorskip("torch")
        assert read((torch.tensor(X).bfloat16(), torch.tensor(Y))).train[0].dtype == np.float32
