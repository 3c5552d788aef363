"""The task inferred from shapes of outputs and a schema of labels."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fusion_nb.core.schema import DataSchema, LabelSchema
from fusion_nb.errors import ModelError
from fusion_nb.models import inference


def labels_of(y: np.ndarray) -> LabelSchema:
    return DataSchema.of((np.zeros((len(y), 2), np.float32), y)).labels


def task_of(output: tuple[int, ...], y: np.ndarray) -> str:
    return inference.decide(output, labels_of(y), class_axis=1).task


class TestPlacesOfLabels:
    @pytest.mark.parametrize("shape", [(6, 4, 4), (6, 1, 4, 4), (6, 4, 4, 1)])
    def test_masks_may_have_an_axis_for_their_channel(self, shape: tuple[int, ...]) -> None:
        y = np.arange(6 * 16).reshape(shape) % 3
        assert task_of((6, 3, 4, 4), y) == "classes"

    @pytest.mark.parametrize("shape", [(6, 2, 4, 4), (6, 1, 4, 5), (6, 1, 1, 4, 4), (6, 5, 4)])
    def test_other_axes_are_refused(self, shape: tuple[int, ...]) -> None:
        y = np.arange(np.prod(shape)).reshape(shape) % 3
        with pytest.raises(ModelError, match="and the labels"):
            task_of((6, 3, 4, 4), y)

    @pytest.mark.parametrize(
        ("output", "label"),
        [((1, 4, 4), (4, 4)), ((4, 4), (1, 4, 4)), ((16,), (4, 4)), ((1, 4, 4), (16,))],
    )
    def test_numbers_compare_with_as_many_outputs_in_the_same_order(
        self, output: tuple[int, ...], label: tuple[int, ...]
    ) -> None:
        y = np.random.default_rng(0).normal(size=(6, *label))
        assert task_of((6, *output), y) == "numbers"

    @pytest.mark.parametrize(
        ("output", "label"),
        [((2, 8), (8, 2)), ((3, 4, 4), (4, 4, 3)), ((1, 4, 16), (1, 16, 4)), ((2, 8), (4, 4))],
    )
    def test_numbers_in_another_order_are_refused(
        self, output: tuple[int, ...], label: tuple[int, ...]
    ) -> None:
        y = np.random.default_rng(0).normal(size=(6, *label))
        with pytest.raises(ModelError, match="don't go together"):
            task_of((6, *output), y)


class TestMarksToLeaveOut:
    @pytest.mark.parametrize(
        ("y", "width", "found"),
        [
            (np.array([0, 1, 2, -100]), 3, -100),
            (np.array([[0, 1], [2, -100]]), 3, -100),
            (np.array([[0, 1], [1, 255]]), 2, 255),
            (np.array([[0, 1], [1, 255]], np.uint8), 2, 255),
            (np.array([0, 1, 1, 255]), 2, None),
            (np.array([[0, 3], [1, 255]]), 2, None),
            (np.array([[0, 255], [1, 254]]), 256, None),
            (np.array([[0, 255], [255, 0]], np.uint8), 2, None),
            (np.array([0, 1, 2, -1]), 3, None),
            (np.array([-100, -100]), 3, None),
        ],
    )
    def test_minus_100_and_the_border_of_masks_are_marks(
        self, y: np.ndarray, width: int, found: int | None
    ) -> None:
        assert inference.left_out(labels_of(y), width) == found

    def test_labels_of_more_kinds_than_are_listed_may_hold_a_mark(self) -> None:
        y = np.concatenate([[-100], np.arange(3000)])
        decision = inference.decide((8, 3000), labels_of(y), class_axis=1, may_ignore=True)
        assert decision.ignored == -100

    def test_a_framework_without_marks_refuses_them(self) -> None:
        with pytest.raises(ModelError, match="-100 can mark places to leave out"):
            inference.decide((4, 3), labels_of(np.array([0, 1, 2, -100])), class_axis=1)

    def test_labels_beside_the_mark_must_be_class_numbers(self) -> None:
        y = np.array([0, 1, 5, -100])
        with pytest.raises(ModelError, match="labels run from 0 to 5"):
            inference.decide((4, 3), labels_of(y), class_axis=1, may_ignore=True)


class TestAdvice:
    @pytest.mark.parametrize(
        ("y", "said"),
        [
            (np.arange(9) % 3 * 10**9 + 7, r"3 different numbers: number them from 0.*3 outputs"),
            (np.array([1001, 2002, 90210, 10001]), r"4 different numbers.*4 outputs"),
            (np.arange(3000) * 10**6, "look like ids"),
            (np.array([0, 5, 7]), r"3 different numbers.*3 outputs"),
            (np.array([0, 1, 2, 3]), "give the model 4 outputs"),
            (np.array([1, 2, 3]), "subtract 1"),
            (np.array([-1, 1, 1]), r"\(labels \+ 1\) // 2"),
        ],
    )
    def test_labels_that_are_no_class_numbers(self, y: np.ndarray, said: str) -> None:
        with pytest.raises(ModelError) as caught:
            inference.decide((4, 3), labels_of(y), class_axis=1)
        assert re.search(said, caught.value.hint)
        assert "0000 outputs" not in caught.value.hint

    def test_messages_speak_of_the_columns_of_one_hot_labels(self) -> None:
        with pytest.raises(ModelError, match=r"one-hot classes of shape \(rows, 3\)"):
            task_of((9, 1), np.eye(3)[np.arange(9) % 3])
        with pytest.raises(ModelError, match="2 outputs, and the one-hot labels 3 columns"):
            task_of((9, 2), np.eye(3)[np.arange(9) % 3])
