"""Names of parties, central test sets, whole numbers, subsets and files: each in several forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset

from fusion_nb import Run, RunSpec
from fusion_nb.errors import DataError, FusionError

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = np.arange(60) % 2
FRAME = pd.DataFrame(X, columns=list("abc")).assign(label=Y)
WORDS = np.random.default_rng(1).integers(0, 10, (60, 3))


def run_of(data: Any, model: nn.Module | None = None) -> Run:
    return Run(RunSpec(data="rows"), {"model": model or nn.Linear(3, 2), "rows": data})


@pytest.mark.parametrize(
    "keys", [(1, "1"), (1.5, "1.5"), (np.int64(3), "3"), (True, "True"), ((1,), "(1,)")], ids=str
)
def test_parties_whose_names_read_alike_are_refused(keys: tuple[Any, str]) -> None:
    with pytest.raises(DataError, match="two parties are called"):
        run_of(dict.fromkeys(keys, (X, Y)))


@pytest.mark.parametrize(
    "test",
    [FRAME, FRAME[["label", "c", "b", "a"]], FRAME.set_index("a", drop=False), (X, Y)],
    ids=["as parties", "another order", "another index", "arrays"],
)
def test_a_central_test_set_is_brought_into_the_form_of_the_parties(test: Any) -> None:
    run = run_of({"u": FRAME, "v": FRAME[:30]}, nn.Linear(3, 2))
    with_test = run_of(({"u": FRAME, "v": FRAME[:30]}, test))
    assert with_test.schema.rows.columns == run.schema.rows.columns == ("a", "b", "c")
    np.testing.assert_array_equal(with_test.prepared.resolved.data.test[0], X)


@pytest.mark.parametrize("lacking", ["a", "label"])
def test_a_central_test_set_without_a_column_is_refused_by_its_name(lacking: str) -> None:
    with pytest.raises(FusionError, match=lacking):
        run_of(({"u": FRAME}, FRAME.drop(columns=lacking)))


@pytest.mark.parametrize(
    "other", [np.float32, np.int32, np.uint8, np.float64], ids=lambda dtype: dtype.__name__
)
def test_whole_numbers_are_indices_at_all_parties_whatever_their_type(other: Any) -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    run = run_of({"u": (WORDS, Y), "v": (WORDS.astype(other), Y)}, model)
    assert run.start().wait().status == "finished"


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.LayerNorm(3), nn.Identity()], ids=repr)
def test_a_party_of_whole_numbers_beside_one_of_fractions_is_no_other_kind(layer: Any) -> None:
    model = nn.Sequential(layer, nn.Linear(3, 2))
    flags = (X > 0).astype(np.float32)
    assert run_of({"u": (flags, Y), "v": (X, Y)}, model).start().wait().status == "finished"


class Costly(Dataset[Any]):
    """Rows that are costly to read, whose labels are at hand."""

    def __init__(self, labels: Any) -> None:
        self.targets, self.num_read = labels, 0

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, row: int) -> Any:
        self.num_read += 1
        return torch.from_numpy(X[row]), int(Y[row])


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda data: Subset(data, range(40)),
        lambda data: Subset(Subset(data, range(50)), range(5, 45)),
        lambda data: ConcatDataset([Subset(data, range(20)), Subset(data, range(20, 60))]),
        lambda data: [Subset(data, range(30)), Subset(data, range(30, 60))],
    ],
    ids=["subset", "subset of a subset", "subsets in a row", "parties"],
)
@pytest.mark.parametrize("labels", [Y, Y.tolist(), torch.from_numpy(Y)], ids=["array", "list", "t"])
def test_labels_behind_a_subset_are_read_without_its_rows(wrapped: Any, labels: Any) -> None:
    data = Costly(labels)
    run_of(wrapped(data))
    assert data.num_read < 60


@pytest.mark.parametrize(
    "content",
    [b"x,y\n1,2\n", b"\x89PNG....", b"", b"PK\x03\x04"],
    ids=["csv", "png", "empty", "zip"],
)
def test_a_file_that_is_no_npz_is_told_by_name_without_unsafe_advice(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "rows.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.npz") as caught:
        Run(RunSpec(data=str(path)), {"model": nn.Linear(3, 2)})
    assert "pickle" not in str(caught.value)
