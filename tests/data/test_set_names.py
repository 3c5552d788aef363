"""Dicts of sets and of columns are told from dicts of parties by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_nb.data import source_kinds
from fusion_nb.data.loading import Source
from fusion_nb.data.set_names import columns_of, set_of
from fusion_nb.errors import DataError

Read = Callable[..., Source]
X, Y = np.arange(40.0).reshape(20, 2) / 40, np.arange(20) % 2
ROWS, FEW = (X, Y), (X[:6], Y[:6])


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("train", "train"),
        ("X_train", "train"),
        ("trainset", "train"),
        ("train_data", "train"),
        ("TRAIN LOADER", "train"),
        ("df_train", "train"),
        ("test-split", "test"),
        ("holdout", "test"),
        ("valset", "validation"),
        ("dev_df", "validation"),
        ("north", None),
        ("test site 2", None),
        ("x", None),
        ("trainee", None),
        (1, None),
    ],
)
def test_a_name_of_a_set_is_known_in_its_spellings(key: Any, expected: str | None) -> None:
    assert set_of(key) == expected


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("trainset", "testset"),
        ("train_data", "val_data"),
        ("x_train", "x_test"),
        ("train_loader", "test_loader"),
        ("Train_DF", "Holdout"),
    ],
)
def test_sets_are_no_parties_in_any_spelling(read: Read, train: str, test: str) -> None:
    source = read({train: ROWS, test: FEW})
    assert source.parties is None
    assert len(source.train[1]) == 20
    assert len(source.test[1]) == 6
    assert any(f"{test!r} the test rows of all parties" in note for note in source.notes)


@pytest.mark.parametrize(
    "keys",
    [
        ("X_train", "Y_train", "X_test", "y_test"),
        ("train_x", "train_y", "test_x", "test_y"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X", "y"),
        ("features", "target"),
    ],
)
def test_columns_of_sets_are_one_data_set(read: Read, keys: tuple[str, ...]) -> None:
    value = dict(zip(keys, (*ROWS, *FEW), strict=False))
    source = read(value)
    assert source.parties is None
    assert np.array_equal(source.train[0], X)
    assert (source.test is not None) == (len(keys) == 4)
    assert list(read({"north": value, "south": ROWS}).parties) == ["north", "south"]


def test_validation_columns_beside_test_columns_are_said_to_be_unused(read: Read) -> None:
    parts = {"train": ROWS, "val": FEW, "test": FEW}
    value = {f"{k}_{r}": pair["xy".index(r)] for k, pair in parts.items() for r in "xy"}
    assert any("validation rows is not used" in note for note in read(value).notes)


def test_parties_called_x_and_y_stay_parties(read: Read) -> None:
    assert list(read({"x": ROWS, "y": FEW}).parties) == ["x", "y"]
    frame = pd.DataFrame({"a": X[:, 0], "label": Y})
    assert list(read({"x": frame, "y": frame}).parties) == ["x", "y"]
    assert not columns_of({"x": X})
    assert not columns_of({"x": X, "data": X, "y": Y})


class TestParties:
    def test_each_may_hold_sets_of_its_own(self, read: Read) -> None:
        party = {"train": ROWS, "val": FEW, "test": FEW}
        for value in ({"n": party, "s": party}, [party, party]):
            source = read(value)
            assert [len(test[1]) for _, test in source.parties.values()] == [6, 6]
            notes = [note for note in source.notes if "of each party" in note]
            assert len(notes) == 1
            assert "'val' is not used" in notes[0]

    def test_a_test_set_among_parties_gives_a_warning(self, read: Read) -> None:
        source = read({"train": ROWS, "test": FEW, "north": ROWS})
        assert len(source.parties) == 3
        assert any("warning: 'test' is trained on, as a party" in note for note in source.notes)

    def test_two_training_sets_are_parties(self, read: Read) -> None:
        assert list(read({"train": ROWS, "training": FEW}).parties) == ["train", "training"]

    @pytest.mark.parametrize(
        "parties",
        [[ROWS, ROWS], [pd.DataFrame({"a": Y * 1.0, "b": Y, "label": Y})], {"n": ROWS}],
    )
    def test_a_list_of_parties_may_come_with_a_test_set(self, read: Read, parties: Any) -> None:
        source = read((parties, FEW))
        assert len(source.parties) == len(parties)
        assert len(source.test[1]) == 6

    def test_a_list_of_rows_stays_a_column(self, read: Read) -> None:
        assert read(([*X], [*Y])).train[0].shape == (20, 2)
        assert read(([[1.0, 2.0], [3.0, 4.0]], np.array([0, 1]))).train[0].shape == (2, 2)


@pytest.mark.parametrize(
    "columns",
    [{"age": X[:, 0], "label": Y}, {"age": [1.0, 2.0], "sex": ["m", "f"]}, {"a": pd.Series(Y)}],
)
def test_the_columns_of_a_table_are_asked_for_as_a_frame(read: Read, columns: Any) -> None:
    for value in (columns, {"north": columns}, [columns]):
        with pytest.raises(DataError, match=r"pandas\.DataFrame\(columns\)"):
            read(value)


@pytest.mark.parametrize(("length", "is_doubtful"), [(20, True), (15, False)])
def test_two_pairs_that_might_be_several_labels_are_warned_of(
    length: int, is_doubtful: bool
) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    pair = (rows, rows[:, :2])
    other = (rows[:length], rows[:length, :2])
    found = source_kinds.recognise((pair, other), "rows")
    assert any("several labels" in note for note in found.notes) is is_doubtful
