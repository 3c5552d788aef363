"""A value that holds no data set is refused with the line that the user can write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset

import fusion_nb
from fusion_nb.data import loading
from fusion_nb.data.loading import Source
from fusion_nb.errors import DataError, NameNotFoundError

Read = Callable[..., Source]
X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2


class Handler:
    def get_data(self) -> Any:
        return (X, Y), None


class Corpus:
    def __iter__(self) -> Iterator[str]:
        return iter(["one two"])


def rows_of_a_function() -> Any:
    return X, Y


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (rows_of_a_function, "call it"),
        (lambda: (X, Y), "call it"),
        (((x, y) for x, y in zip(X, Y, strict=True)), r"list\(\.\.\.\)"),
        (zip(X, Y, strict=True), r"list\(\.\.\.\)"),
        (Corpus(), r"list\(\.\.\.\)"),
        (Handler, "data-handler"),
        (Handler(), "data-handler"),
        (X, "round brackets"),
        (X, r"\(x, x\) where the model needs none"),
        ([X, Y], "round brackets"),
        ([[X, Y], [X, Y]], "round brackets"),
        ([{"age": 1, "label": 0}, {"age": 2, "label": 1}], r"pandas\.DataFrame\(rows\)"),
        ({"doc 1": "some words"}, "list of texts"),
        (("x.npy", "y.npy"), "list of paths"),
        ((Path("x.npz"), Path("y.npz")), "list of paths"),
        (np.zeros(3, dtype=[("a", float), ("b", int)]), r"pandas\.DataFrame"),
        ([b"some words", b"other words"], "list of texts"),
        (([(X, Y)], [(X, Y)], (X, Y)), r"\(\[party, \.\.\.\], test\)"),
    ],
)
def test_the_line_says_what_to_write(read: Read, value: Any, hint: str) -> None:
    with pytest.raises(DataError, match=hint) as caught:
        read(value)
    assert caught.value.option == "data"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("rows.tsv", "read_csv"),
        ("ROWS.TSV", "read_csv"),
        ("~/rows.feather", "read_feather"),
        ("scan.png", "Dataset that reads them"),
        ("scans/*/*.JPG", "Dataset that reads them"),
        ("rows.jsonl", "lines=True"),
        ("x.npy", r"numpy\.load"),
    ],
)
def test_a_file_of_another_kind_is_read_first(read: Read, path: str, hint: str) -> None:
    with pytest.raises(NameNotFoundError, match=hint):
        loading.read(path, {})
    with pytest.raises(NameNotFoundError, match=hint):
        read(Path(path))


@pytest.mark.parametrize("value", [(X, None), pd.DataFrame(X, columns=["a", "b"])])
def test_rows_without_labels_have_a_form(read: Read, value: Any) -> None:
    with pytest.raises(DataError, match=r"needs no labels.*") as caught:
        read(value)
    assert "(x, x)" in caught.value.hint


def test_gaps_of_columns_can_be_filled_by_all_parties_together(read: Read) -> None:
    for x, is_told in ((X, True), (X.reshape(20, 2, 1), False)):
        with pytest.raises(DataError, match="x holds 1 NaN") as caught:
            read((np.where(x == 3, np.nan, x), Y))
        assert ("or give a DataFrame with --tabular auto" in caught.value.hint) == is_told


def test_a_folder_is_told_from_a_name(tmp_path: Path) -> None:
    with pytest.raises(NameNotFoundError, match=r"\*\.csv; images are given as a Dataset"):
        loading.read(str(tmp_path), {})


def test_paths_as_text_in_lists_and_dicts_are_the_parties_files(read: Read, tmp_path: Path) -> None:
    files = [str(tmp_path / "north.npz"), str(tmp_path / "south.npz")]
    for file in files:
        np.savez(file, x_train=X, y_train=Y)
    assert list(read(files).parties) == ["north", "south"]
    assert read(files[:1]).parties is None
    assert list(read({"a": Path(files[0]), "b": files[1]}).parties) == ["a", "b"]
    assert list(read({"a": files[0]}).parties) == ["a"]


def test_none_is_not_the_default_data_set() -> None:
    with pytest.raises(DataError, match="data= is None"):
        fusion_nb.federate(torch.nn.Linear(2, 2), None)


class Broken(Dataset[Any]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, row: int) -> Any:
        if row == 7:
            raise OSError("no such file")
        return X[row].astype(np.float32), int(Y[row])


def test_a_quorum_is_not_advised_for_a_row_that_belongs_to_no_party_yet() -> None:
    for options in ({}, {"quorum": 0.5}):
        with pytest.raises(DataError, match=r"row 7 .* can't be read: OSError") as caught:
            fusion_nb.federate(torch.nn.Linear(2, 2), Broken(), rounds=1, **options)
        assert "a quorum can't leave out this one" in caught.value.hint
        assert isinstance(caught.value.__cause__, OSError)


def test_parties_in_frames_and_dicts_are_named_among_the_data() -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": X[:, 0], "label": Y})
    assert loading.looks_like_data("sites", {"n": frame, "s": frame})
    assert loading.looks_like_data("sites", [frame])
    assert not loading.looks_like_data("settings", {"n": 1, "s": [2]})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((np.float32(3), 1), "x is a single float32"),
        ((torch.tensor(3.0), Y), "x is a single Tensor"),
        ((X, 1), "y is a single int"),
        ((X, np.array(1)), "y is a single ndarray"),
    ],
)
def test_a_single_number_is_no_column(read: Read, value: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(value)
