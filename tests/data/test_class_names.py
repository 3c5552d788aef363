"""Names of classes that data brings beside labels that are numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fusion_nb import federate
from fusion_nb.core.schema import DataSchema
from fusion_nb.data.class_names import with_class_names

X, Y = np.zeros((6, 2), np.float32), np.array([0, 1, 2, 0, 1, 2])
NAMES = ("ash", "oak", "yew")


class Folder:
    """A data set as torchvision's ImageFolder is one."""

    classes = ["ash", "oak", "yew"]  # noqa: RUF012  (as torchvision has it)
    targets = Y.tolist()

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, row: int) -> Any:
        return X[row], int(Y[row])


def named(value: Any, labels: np.ndarray = Y) -> tuple[str, ...]:
    return with_class_names(DataSchema.of((X[: len(labels)], labels)), value).labels.classes


@pytest.mark.parametrize(
    "value",
    [
        {"data": X, "target": Y, "target_names": np.array(NAMES)},
        Folder(),
        [Folder(), Folder()],
        {"one": Folder(), "other": Folder()},
        (Folder(), Folder()),
        SimpleNamespace(dataset=Folder(), indices=[0, 1]),
    ],
    ids=["bunch", "folder", "list", "dict", "pair", "subset"],
)
def test_are_found(value: Any) -> None:
    assert named(value) == NAMES


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ((X, Y), Y),
        (Folder(), np.array([0, 1, 5])),
        (Folder(), np.array([0.5, 1.5])),
        ([Folder(), SimpleNamespace(classes=["a", "b", "c"])], Y),
        (SimpleNamespace(classes=["a", "a", "b"]), Y),
        (SimpleNamespace(classes=3), Y),
        ({"data": X, "target": Y, "target_names": [1, 2, 3]}, Y),
    ],
    ids=["none", "too few", "numbers", "several", "twice", "count", "no text"],
)
def test_are_left_out_where_they_do_not_fit(value: Any, labels: np.ndarray) -> None:
    assert named(value, labels) == ()


def test_names_of_text_labels_stay() -> None:
    schema = DataSchema()
    assert with_class_names(schema, Folder()) is schema


def test_a_run_knows_them(net: Any) -> None:
    sets = pytest.importorskip("sklearn.datasets")
    iris = sets.load_iris()
    run = federate(net(4, 3), iris, rounds=1, metrics="recall:average=none")
    assert run.classes == ("setosa", "versicolor", "virginica")
    assert "recall_setosa" in run.history.metrics()
    assert {*run.parties[0].label_counts} == {*run.classes}
    assert any("0 is 'setosa'" in note for note in run.notes)
