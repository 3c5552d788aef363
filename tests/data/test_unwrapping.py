"""Containers around data are taken with a note, or refused with what to write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import fusion_nb
from fusion_nb.core.rows import stored_labels
from fusion_nb.data import loading
from fusion_nb.data.loading import Source
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError

Read = Callable[..., Source]
Partition = Callable[..., PartitionedData]
X, Y = torch.arange(40.0).reshape(20, 2) / 40, torch.arange(20) % 2
ROWS = TensorDataset(X, Y)
FRAME = pd.DataFrame({"age": np.arange(20.0), "site": ["a", "b"] * 10, "label": np.arange(20) % 2})


class TestLoaders:
    @pytest.mark.parametrize("form", [lambda a: a, lambda a: (a, a), lambda a: ({"n": a}, a)])
    def test_the_data_set_and_the_batch_size_are_taken(self, read: Read, form: Any) -> None:
        source = read(form(DataLoader(ROWS, batch_size=7, shuffle=True)))
        assert source.batch_size == 7
        assert any("batch size 7" in note for note in source.notes)

    def test_the_run_trains_with_it_unless_another_is_named(self) -> None:
        loaders = [DataLoader(ROWS, batch_size=7)] * 2
        run = fusion_nb.federate(torch.nn.Linear(2, 2), loaders, rounds=1)
        assert run.federation.train_options["batch_size"] == 7
        run = fusion_nb.federate(torch.nn.Linear(2, 2), loaders, rounds=1, batch_size=5)
        assert run.federation.train_options["batch_size"] == 5

    def test_a_sampler_of_some_rows_gives_these(self, read: Read) -> None:
        loader = DataLoader(ROWS, batch_size=4, sampler=SubsetRandomSampler([3, 5, 8]))
        assert read([loader]).parties["party 1"][0][1].tolist() == [1, 1, 0]

    def test_a_sampler_that_weighs_rows_is_refused(self, read: Read) -> None:
        loader = DataLoader(ROWS, sampler=WeightedRandomSampler([1.0] * 20, 20))
        with pytest.raises(DataError, match="draws its rows by WeightedRandomSampler"):
            read(loader)

    def test_a_sampler_of_batches_is_asked_for_its_own_sampler(self, read: Read) -> None:
        plain = BatchSampler(SequentialSampler(ROWS), 6, drop_last=False)
        assert read(DataLoader(ROWS, batch_sampler=plain)).batch_size == 6
        some = BatchSampler(SubsetRandomSampler([3, 5, 8]), 2, drop_last=False)
        assert len(read(DataLoader(ROWS, batch_sampler=some)).train[1]) == 3
        weighing = BatchSampler(WeightedRandomSampler([1.0] * 20, 20), 2, drop_last=False)
        with pytest.raises(DataError, match="draws its rows by WeightedRandomSampler"):
            read(DataLoader(ROWS, batch_sampler=weighing))

    def test_lists_of_loaders_may_come_with_a_test_loader(self, read: Read) -> None:
        loader = DataLoader(ROWS, batch_size=7)
        source = read(([loader, loader], DataLoader(Subset(ROWS, range(4)))))
        assert list(source.parties) == ["party 1", "party 2"]
        assert len(source.test) == 4

    def test_a_loader_of_a_list_of_rows_is_that_list(self, read: Read) -> None:
        samples = [(row.numpy(), int(label)) for row, label in zip(X, Y, strict=True)]
        source = read(DataLoader(samples, batch_size=4))
        assert source.train[0].shape == (20, 2)

    @pytest.mark.parametrize("batch_size", [None, 4])
    def test_the_usual_collation_gives_no_warning(self, read: Read, batch_size: Any) -> None:
        notes = read(DataLoader(ROWS, batch_size=batch_size)).notes
        assert not any("collate_fn" in note for note in notes)

    def test_a_collate_function_gives_a_warning(self, read: Read) -> None:
        loader = DataLoader(ROWS, collate_fn=lambda rows: rows)
        assert any("collate_fn" in note for note in read(loader).notes)


@pytest.mark.parametrize(
    "rows",
    [
        [(row, int(label)) for row, label in zip(X, Y, strict=True)],
        [(row.numpy(), label) for row, label in zip(X, Y, strict=True)],
        [(row, label[None]) for row, label in zip(X, Y, strict=True)],
        [[row, str(int(label))] for row, label in zip(X, Y, strict=True)],
    ],
)
def test_a_list_of_single_rows_is_one_data_set(partition: Partition, rows: Any) -> None:
    made = partition(rows, parties=4)
    assert len(made.parties) == 4
    assert made.label_counts(with_test=True)["party 1"].keys() == {0, 1}
    given = partition([rows[:8], rows[8:]])
    assert [party.num_examples + party.num_test for party in given.parties] == [8, 12]
    assert len(partition((rows, rows[:3])).test[1]) == 3


class TestFrames:
    def test_the_key_of_a_grouped_frame_divides_it(self, partition: Partition) -> None:
        for value in (FRAME.groupby("site"), list(FRAME.drop(columns="site").groupby(FRAME.site))):
            made = partition(value)
            assert [party.id for party in made.parties] == ["a", "b"]
            assert made.schema.rows.columns == ("age",)

    def test_columns_of_two_levels_are_joined(self, read: Read) -> None:
        levels = FRAME[["age", "label"]].copy()
        levels.columns = pd.MultiIndex.from_tuples([("visit", "age"), ("label", "")])
        assert read(levels).schema.rows.columns == ("visit_age",)

    @pytest.mark.parametrize(
        "column",
        [
            pd.Series([True, False] * 10),
            pd.Series([1, 2] * 10, dtype="Int64"),
            pd.Series([1.5, 2] * 10, dtype="Float32"),
            pd.Series([True, False] * 10, dtype="boolean"),
            pd.Series([1, 2.5] * 10, dtype=object),
        ],
        ids=lambda column: str(column.dtype),
    )
    def test_columns_of_any_numbers_are_taken_in_both_forms(self, read: Read, column: Any) -> None:
        frame = FRAME[["age"]].assign(more=column)
        pair = read((frame, FRAME["label"])).train[0]
        table = read(frame.assign(label=FRAME["label"])).train[0]
        assert np.array_equal(pair, table)
        assert pair[:, 1].tolist() == [float(value) for value in column]

    def test_a_missing_value_in_a_nullable_column_is_refused(self, read: Read) -> None:
        frame = FRAME[["age"]].assign(more=pd.Series([1, None] * 10, dtype="Int64"))
        with pytest.raises(DataError, match="missing values, in the columns more"):
            read((frame, FRAME["label"]))

    def test_a_frame_of_another_library_is_asked_for_as_pandas(self, read: Read) -> None:
        class DataFrame:
            columns = ("age", "label")

        for value in (DataFrame(), [DataFrame()], (DataFrame(), np.arange(3)), {"a": DataFrame()}):
            with pytest.raises(DataError, match=r"to_pandas\(\)"):
                read(value)


class TestDataSets:
    def test_one_that_can_only_be_iterated_is_refused(self, read: Read) -> None:
        class Endless(IterableDataset[Any]):
            def __iter__(self) -> Iterator[Any]:
                return iter(())

        class Counted(Endless):
            def __len__(self) -> int:
                return 3

        for value in (Endless(), Counted(), [Counted()], DataLoader(Endless())):
            with pytest.raises(DataError, match="IterableDataset"):
                read(value)

    def test_pictures_and_rows_of_several_lengths_are_refused(self, read: Read) -> None:
        image = pytest.importorskip("PIL.Image")

        class Rows(Dataset[Any]):
            def __init__(self, *rows: Any) -> None:
                self.rows = rows

            def __len__(self) -> int:
                return len(self.rows)

            def __getitem__(self, i: int) -> Any:
                return self.rows[i], i % 2

        with pytest.raises(DataError, match="is a picture"):
            read(Rows(*[image.new("L", (4, 4))] * 9))
        with pytest.raises(DataError, match=r"the first has \(3,\), row 8 \(4,\)"):
            read(Rows(*[np.zeros(3)] * 8, np.zeros(4)))

    def test_the_targets_behind_a_subset_are_used(self) -> None:
        class Counting(Dataset[Any]):
            num_read = 0
            targets = tuple(i % 3 for i in range(60))

            def __len__(self) -> int:
                return 60

            def __getitem__(self, i: int) -> Any:
                type(self).num_read += 1
                return X[i % 20], self.targets[i]

        whole = Counting()
        nested = Subset(Subset(whole, range(10, 60)), [5, 7, 30])
        assert stored_labels(nested).tolist() == [0, 2, 1]
        assert stored_labels(ConcatDataset([whole, Subset(whole, [2])])).tolist()[-1] == 2
        assert Counting.num_read < 20

    @pytest.mark.parametrize("attribute", [lambda: [0], 3, "text", None])
    def test_attributes_that_are_no_labels_are_ignored(self, attribute: Any) -> None:
        class Rows(Dataset[Any]):
            def __init__(self) -> None:
                self.targets = self.labels = attribute

            def __len__(self) -> int:
                return 20

            def __getitem__(self, i: int) -> Any:
                return X[i], int(Y[i])

        assert stored_labels(Rows()).tolist() == Y.tolist()


class TestArrays:
    def test_long_doubles_become_doubles(self, read: Read) -> None:
        assert read((X.numpy().astype(np.longdouble), Y)).train[0].dtype == np.float64

    def test_sparse_and_nested_tensors_are_refused(self, read: Read) -> None:
        with pytest.raises(DataError, match="sparse tensor"):
            read((X.to_sparse(), Y))
        ragged = torch.nested.nested_tensor([X[0], X[1, :1]], layout=torch.jagged)
        with pytest.raises(DataError, match="rows of different lengths"):
            read((ragged, Y[:2]))


def test_paths_are_those_of_the_user(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    np.savez(tmp_path / "set.npz", x_train=X.numpy(), y_train=Y.numpy())
    np.savez(tmp_path / "other.npz", x_train=X.numpy(), y_train=Y.numpy())
    model = torch.nn.Linear(2, 2)
    assert fusion_nb.federate(model, "~/set.npz", rounds=1).status == "finished"
    assert fusion_nb.federate(model, tmp_path / "set.npz", rounds=1).status == "finished"
    assert list(read([tmp_path / "set.npz", Path("~/other.npz")]).parties) == ["set", "other"]


def test_a_file_that_is_no_npz_gets_no_unsafe_advice(read: Read, tmp_path: Path) -> None:
    for text in ("age,label\n1,0\n", "", "{}"):
        path = tmp_path / "rows.npz"
        path.write_text(text)
        with pytest.raises(DataError, match="it is no such file") as caught:
            read(path)
        assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 8])
def test_a_finite_dataset_of_tensorflow_is_read(read: Read, size: int) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    made = tensorflow.data.Dataset.from_tensor_slices((X.numpy(), Y.numpy()))
    source = read(made.batch(size) if size else made)
    assert np.array_equal(source.train[0], X.numpy())
    assert source.train[1].tolist() == Y.tolist()
    assert source.batch_size == (size or None)
    with pytest.raises(DataError, match="never ends"):
        read(made.repeat())
    with pytest.raises(DataError, match="no pairs"):
        read(made.map(lambda x, y: {"x": x, "y": y}))


def test_the_batches_of_tensorflow_are_known_by_their_shapes(read: Read) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    x, y = X.numpy(), Y.numpy()
    unknown = tensorflow.data.Dataset.from_generator(
        lambda: zip(x, y, strict=True), output_types=(tensorflow.float32, tensorflow.int64)
    )
    for made in (unknown, unknown.batch(6)):
        assert np.array_equal(read(made).train[0], x)
    vectors = tensorflow.data.Dataset.from_tensor_slices((x, x))
    for made in (vectors, vectors.batch(4), vectors.batch(5, drop_remainder=True)):
        assert read(made).train[0].shape == (20, 2)
    words = tensorflow.data.Dataset.from_tensor_slices((x, np.where(y, "yes", "no")))
    for made in (words, words.batch(6)):
        assert read(made).classes == ("no", "yes")


def test_sparse_labels_of_parties_are_refused(read: Read) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for value in ([(X.numpy(), sparse.csr_matrix(np.eye(2)[Y]))], (sparse.coo_array(X), Y)):
        with pytest.raises(DataError, match="is a sparse matrix"):
            read(value)


def test_batches_of_keras_are_read_as_rows(read: Read) -> None:
    keras = pytest.importorskip("keras")

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int) -> Any:
            return X.numpy()[i * 10 : i * 10 + 10], Y.numpy()[i * 10 : i * 10 + 10]

    source = read(Batches())
    assert source.train[0].shape == (20, 2)
    assert source.batch_size == 10


def test_a_frame_without_the_label_of_the_training_rows_is_named(read: Read) -> None:
    with pytest.raises(DataError, match=r"'value \(test rows\)' has no column"):
        read((FRAME[["age", "label"]], FRAME[["age"]]))


def test_the_notebooks_own_variables_are_no_data() -> None:
    lines = ["import numpy as np", "x = 1"]
    assert loading.looks_like_data("documents", lines)
    assert not loading.looks_like_data("In", lines)


class Hugging:
    """The part of a Hugging Face Dataset that matters here."""

    def __init__(self, kinds: str) -> None:
        self.features = {name: type(kinds, (), {})() for name in ("age", "label")}

    def __len__(self) -> int:
        return 20

    def __getitem__(self, i: int) -> Any:
        return {"age": X[i], "label": int(Y[i])}

    def to_pandas(self) -> pd.DataFrame:
        return FRAME[["age", "label"]]


Hugging.__module__, Hugging.__name__ = "datasets.arrow_dataset", "Dataset"


def test_a_dataset_of_plain_columns_is_a_frame(read: Read) -> None:
    assert read(Hugging("Value")).schema.rows.columns == ("age",)
    both = read({"train": Hugging("Value"), "test": Hugging("ClassLabel")})
    assert len(both.test[1]) == 20
    assert read(Hugging("Image")).schema.rows.kind == "structured"


@pytest.mark.parametrize(
    ("label", "expected"),
    [(lambda i: ["no", "yes"][i % 2], [0, 1]), (lambda i: str(i / 4), [0.0, 0.25])],
)
def test_text_labels_of_a_dataset_are_numbers_where_rows_are_read(
    read: Read, label: Any, expected: Any
) -> None:
    class Rows(Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, i: int) -> Any:
            return X[i], label(i)

    source = read(Rows())
    assert [source.train[i][1] for i in range(2)] == expected
    assert source.labels["", "train"][:2].tolist() == expected
