"""Labels that may be meant otherwise give a warning, and those that can't be used one line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch.utils.data import Dataset

from fusion_nb.data.loading import Source
from fusion_nb.errors import DataError

Read = Callable[..., Source]
X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
MASKS = np.random.default_rng(0).normal(size=(20, 4, 4)) > 0


def warnings(source: Source) -> list[str]:
    return [note for note in source.notes if note.startswith("warning: the label")]


class TestSpellings:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (("yes", "no"), (" yes", "no ")),
            (("Yes", "No"), ("yes", "no")),
            (("1", "2"), ("01", "02")),
            (("0", "1"), ("0.0", "1.0")),
            (("caf\u00e9", "tea"), ("cafe\u0301", "tea")),
        ],
    )
    def test_one_class_in_two_spellings_gives_a_warning(
        self, read: Read, one: tuple[str, str], other: tuple[str, str]
    ) -> None:
        labels = [np.where(Y, *names) for names in (one, other)]
        source = read([(X, labels[0]), (X, labels[1])])
        (note,) = warnings(source)
        assert f"{one[0]!r} and {other[0]!r}" in note or f"{other[0]!r} and {one[0]!r}" in note

    def test_blanks_give_it_inside_one_data_set_too(self, read: Read) -> None:
        assert warnings(read((X, ["yes", " yes", "no", "no"] * 5)))

    def test_letters_of_both_cases_at_one_party_are_meant_so(self, read: Read) -> None:
        letters = np.array(["a", "A", "b", "B"] * 5)
        assert not warnings(read([(X, letters), (X, letters)]))
        assert not warnings(read((X, np.where(Y, "yes", "no"))))

    @pytest.mark.parametrize("missing", ["nan", "", "None", "<NA>"])
    def test_a_class_that_may_mean_missing_gives_a_warning(self, read: Read, missing: str) -> None:
        (note,) = warnings(read((X, [missing, "a", "b", "a"] * 5)))
        assert f"the label {missing!r} is a class of its own" in note


@pytest.mark.parametrize("others", [MASKS.astype(np.uint8), MASKS])
def test_masks_in_two_units_are_refused_by_their_parties(read: Read, others: Any) -> None:
    high = (MASKS * 255).astype(np.uint8)
    x = np.zeros((20, 4, 4))
    for value in ({"n": (x, high), "s": (x, others)}, {"s": (x, others), "n": (x, high)}):
        with pytest.raises(DataError, match="of n are masks of 0 and 255, and those of s of 0 and"):
            read(value)
    ignored = np.where(MASKS, 1, 255)
    ignored[0] = 0
    assert read([(x, ignored), (x, high)]).schema.labels.values == (0, 1, 255)
    assert read([(x, others), (x, others)]).schema.labels.kind == "flags"


def test_labels_that_look_like_pixels_but_are_not_scaled_give_a_note(read: Read) -> None:
    rng = np.random.default_rng(0)
    small, large = (rng.integers(0, 256, (20, n, n)).astype(np.uint8) for n in (8, 16))
    said = "labels: bytes are taken for class numbers"
    for x in (small, np.zeros((20, 16, 16))):
        assert any(note.startswith(said) for note in read((x, large)).notes)
    for y in (large % 20, large.astype(int)):
        assert not any(note.startswith(said) for note in read((small, y)).notes)


@pytest.mark.parametrize("shape", [lambda y: y[:, None], lambda y: y.astype(str)[:, None]])
def test_a_column_of_labels_is_the_same_form_as_a_row(read: Read, shape: Any) -> None:
    plain = shape(Y)[:, 0]
    for value in ([(X, shape(Y)), (X, plain)], [(X, plain), (X, shape(Y))]):
        found = [train[1] for train, _ in read(value).parties.values()]
        assert all(labels.tolist() == Y.tolist() for labels in found)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (np.eye(2)[Y], r"float64 of shape \(2,\) each, and one int64 each"),
        (Y.astype(str), "one text each, and one int64 each"),
    ],
)
def test_other_forms_are_described(read: Read, other: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"labels of party 2 are of another form .*: {said}"):
        read([(X, Y), (X, other)])


class Kind(Enum):
    A = 0
    B = 1


def objects(*values: Any) -> np.ndarray:
    made = np.empty(20, dtype=object)
    made[:] = [values[i % len(values)] for i in range(20)]
    return made


class TestNoNumbers:
    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            (objects(0, 1, None, 1), "y holds 5 missing values"),
            (objects(0, pd.NA), "y holds 10 missing values"),
            (objects(Kind.A, Kind.B), "y holds Kind objects"),
            (objects(date(2020, 1, 1)), "y holds date objects"),
            (Y.astype("timedelta64[D]"), r"timedelta64\[D\], not real numbers"),
            (np.datetime64("2020-01-01") + Y, r"datetime64\[D\], not real numbers"),
            (objects(b"a", None), "10 labels are missing"),
            (Y[None], r"20 rows but 1 labels \(y has the shape \(1, 20\)\)"),
        ],
    )
    def test_they_are_refused_by_their_kind(self, read: Read, labels: Any, said: str) -> None:
        with pytest.raises(DataError, match=said):
            read((X, labels))

    @pytest.mark.parametrize(
        ("x", "said"),
        [
            (objects(1.0, "a"), "x holds str objects"),
            (np.where(Y, None, 1.0)[:, None], "x holds 10 missing values"),
            (X.astype(str), "astype"),
            (X.astype("timedelta64[D]"), "is days"),
            (objects(np.zeros(2), np.zeros(3)), "rows are of different lengths"),
        ],
    )
    def test_rows_are_refused_by_their_kind(self, read: Read, x: Any, said: str) -> None:
        with pytest.raises(DataError, match=said):
            read((x, Y))

    def test_an_array_of_arrays_is_stacked(self, read: Read) -> None:
        x = np.empty(20, dtype=object)
        x[:] = [*X]
        assert np.array_equal(read((x, Y)).train[0], X)

    def test_bytes_are_text(self, read: Read) -> None:
        assert read((X, objects(b"cat", b"dog"))).classes == ("cat", "dog")
        assert read((X, np.array([b"caf\xe9", b"tea"])[Y])).classes == ("caf\\xe9", "tea")
        assert read([(X, np.array([b"a", b"b"])[Y]), (X, ["a", "b"] * 10)]).classes == ("a", "b")


class Labelled(Dataset[Any]):
    def __init__(self, *labels: Any) -> None:
        self.given = labels

    def __len__(self) -> int:
        return 20

    def __getitem__(self, row: int) -> Any:
        return X[row], self.given[row % len(self.given)]


@pytest.mark.parametrize(
    ("labels", "said"),
    [((0, 1, None), "y holds 6 missing values"), (("a", "b", None), "6 labels are missing")],
)
def test_a_dataset_with_missing_labels_is_refused(read: Read, labels: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(Labelled(*labels))


def test_bytes_of_a_dataset_are_text(read: Read) -> None:
    assert read(Labelled(b"caf\xe9", b"tea")).train[0][1] == 0
