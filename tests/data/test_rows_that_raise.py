"""Data sets of the user's own that raise while rows are read: who and which row is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from fusion_nb import RunSpec
from fusion_nb.errors import DataError
from fusion_nb.runs.run import Run


class Pixels(Dataset[Any]):
    """30 rows, of which one can't be read. Its labels are known without reading rows."""

    def __init__(self, broken: int = -1, error: BaseException | None = None) -> None:
        self.targets = np.arange(30) % 3
        self.broken, self.error = broken, error or ValueError("bad pixel")

    def __len__(self) -> int:
        return 30

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        if row == self.broken:
            raise self.error
        return torch.full((4,), float(row)), int(self.targets[row])


class Unlisted(Pixels):
    """One whose labels are known by reading every row."""

    def __init__(self, broken: int) -> None:
        super().__init__(broken)
        self.targets = np.empty(0)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        if row == self.broken:
            raise self.error
        return torch.full((4,), float(row)), row % 3


def made(data: Any, **options: Any) -> Run:
    spec = RunSpec(data="data", rounds=2, **options)
    return Run(spec, {"model": nn.Linear(4, 3), "data": data})


def parties(broken: Any) -> dict[str, Any]:
    return {
        "north": (Pixels(), Pixels()),
        "south": (broken, Pixels()),
        "west": (Pixels(), Pixels()),
    }


@pytest.mark.parametrize(
    ("engine", "error"),
    [
        ("local", ValueError("bad pixel")),
        ("local", IndexError("gone")),
        ("local", StopIteration()),
        ("local", KeyError("k")),
        pytest.param("process:workers=1", ValueError("bad pixel"), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_a_quorum_lets_the_round_go_on(engine: str, error: Exception) -> None:
    run = made(parties(Pixels(17, error)), quorum=0.5, engine=engine).start().wait()
    assert run.status == "finished"
    assert [[f.party for f in record.failures] for record in run.records] == [["south"]] * 2
    told = run.failures[0]
    assert "DataError: row 17 of the data set (number 17 here) can't be read" in told.error
    assert type(error).__name__ in told.error
    assert "test_rows_that_raise.py, line" in told.error


def test_without_one_the_run_fails_with_the_party_and_the_row() -> None:
    run = made(parties(Pixels(17))).start()
    with pytest.raises(DataError, match="south: row 17 of the data set") as caught:
        run.wait()
    assert "ValueError: bad pixel" in caught.value.message
    assert isinstance(caught.value.__cause__, DataError)


def test_a_divided_data_set_names_the_row_and_its_number_at_the_party() -> None:
    run = made(Pixels(17), parties=3, quorum=0.3, holdout=0.2).start().wait(240)
    told = [
        failure for failure in run.failures if "row 17 of the data set (number" in failure.error
    ]
    assert told


def test_a_row_whose_label_cannot_be_read_is_named_before_training() -> None:
    data = {"north": Pixels(), "south": Unlisted(11)}
    with pytest.raises(DataError, match="south: row 11 of the data set can't be read: ValueError"):
        made(data)


@pytest.mark.parametrize("order", [("north", "south", "west"), ("south", "north", "west")])
def test_a_quorum_goes_on_without_a_party_whose_labels_cannot_be_read(order: Any) -> None:
    given = parties(Unlisted(11)) | {"south": Unlisted(11)}
    run = made({name: given[name] for name in order}, quorum=0.5).start().wait(60)
    assert run.status == "finished"
    assert [[f.party for f in record.failures] for record in run.records] == [["south"]] * 2
    assert "row 11 of the data set can't be read" in run.failures[0].error
    assert any(note.startswith("warning: south: row 11") for note in run.notes)


def test_a_quorum_helps_neither_wrong_rows_nor_a_run_without_any() -> None:
    with pytest.raises(DataError, match="south: row 11"):
        made({"south": Unlisted(11)}, quorum=0.5)
    wrong = (np.full((30, 4), np.nan, np.float32), np.arange(30) % 3)
    with pytest.raises(DataError, match="NaN"):
        made({"north": Pixels(), "south": wrong}, quorum=0.5)
