"""Data sets of the user's own that raise while rows are read: who and which row is told."""

from __future__ import annotations

import re
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
        ("local", SystemExit(3)),
        ("local", GeneratorExit()),
        ("local", KeyboardInterrupt()),  # of the code itself: the user's reach the main thread
        ("local", MemoryError("too large")),
        pytest.param("process:workers=1", ValueError("bad pixel"), marks=pytest.mark.slow),
        pytest.param("process:workers=1", SystemExit(3), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_a_quorum_lets_the_round_go_on(engine: str, error: BaseException) -> None:
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


class WithoutLength(Pixels):
    """One whose length is found by the user's own code."""

    def __init__(self, length: Any) -> None:
        super().__init__()
        self.length = length

    def __len__(self) -> int:
        if isinstance(self.length, BaseException):
            raise self.length
        found: int = self.length
        return found


@pytest.mark.parametrize(
    "length", [ValueError("no index"), SystemExit(3), MemoryError(), -1, 3.5, None], ids=repr
)
def test_a_length_that_is_not_told_names_the_party(length: Any) -> None:
    with pytest.raises(DataError, match="south: the data set does not tell its length") as caught:
        made(parties(WithoutLength(length)))
    assert "__len__" in caught.value.hint


class Other(Pixels):
    """One whose row 17 has another form once the labels are known."""

    def __init__(self, row: Any) -> None:
        super().__init__()
        self.other, self.reads = row, 0

    def __getitem__(self, row: int) -> Any:
        self.reads += 1
        return self.other if row == 17 and self.reads > 20 else super().__getitem__(row)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((torch.zeros(5), 1), r"\(of shape \(5,\), a number\)"),
        ((torch.zeros(4), None), r"\(of shape \(4,\), NoneType\)"),
        ((torch.zeros(4), 1, 2), r"\(of shape \(4,\), a number, a number\)"),
        ((torch.zeros(4),), r"\(of shape \(4,\)\)"),
        (("a", 1), r"\(str, a number\)"),
        ({"x": torch.zeros(4)}, r"\{x: of shape \(4,\)\}"),
        (None, "NoneType"),
    ],
    ids=["shape", "no label", "three", "one", "text", "dict", "nothing"],
)
def test_a_row_of_another_form_is_named(row: Any, said: str) -> None:
    run = made(parties(Other(row)), quorum=0.5).start().wait()
    assert run.status == "finished"
    (told, *_) = run.failures
    assert told.party == "south"
    pattern = rf"row 17 of the data set \(number 17 here\) is {said}, and others are \(of shape"
    assert re.search(pattern, told.error), told.error


def test_a_long_text_of_an_exception_is_cut() -> None:
    with pytest.raises(DataError) as caught:
        made(parties(Pixels(17, ValueError("\x1b[2J" + "y" * 5000)))).start().wait()
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()
