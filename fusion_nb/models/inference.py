"""The task of a model of any framework, inferred from the shapes of its outputs and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fusion_nb.core.rows import is_classes
from fusion_nb.errors import ModelError

Task = Literal["classes", "binary", "numbers", "own"]
#: Whole-numbered labels look like classes where they are of at most this number of kinds.
_MAX_FEW = 10


@dataclass(frozen=True)
class Decision:
    """The task, why it was chosen, and a doubt that the user should look at, or ""."""

    task: Task
    why: str
    warning: str = ""


def decide(output: tuple[int, ...], labels: np.ndarray, class_axis: int) -> Decision:
    """Return the task for outputs of a shape, whose first axis is the rows, and labels.

    class_axis: the axis of outputs that has one entry for each class: 1 in PyTorch, -1 in Keras
    Raises ModelError where they don't go together.
    """
    width = output[class_axis] if len(output) > 1 else 1
    if width > 1 and is_classes(labels) and labels.ndim == len(output) - 1:
        check_classes(output, labels, class_axis)
        return Decision("classes", "one output for each class")
    if width == 1 and labels.ndim == 1:
        if is_classes(labels) and set(np.unique(labels)) <= {0, 1}:
            return Decision("binary", "one output and labels 0 and 1")
        kinds = len(np.unique(labels)) if is_classes(labels) else 0
        warning = ""
        if 1 < kinds <= _MAX_FEW:
            line = (
                f"warning: the labels are {kinds} whole numbers; if they are classes, number "
                "them from 0"
            )
            warning = (
                f"{line} and give the model {'one output' if kinds == 2 else f'{kinds} outputs'}"
            )
        return Decision("numbers", "one output and labels that are numbers", warning)
    if same_size(output, labels):
        if is_classes(labels) and set(np.unique(labels)) <= {0, 1}:
            return Decision("binary", "as many outputs as labels of 0 and 1 for each row")
        return Decision("numbers", "as many outputs as numbers in each label")
    raise misfit(output, labels, "these don't go together", class_axis)


def same_size(output: tuple[int, ...], labels: np.ndarray) -> bool:
    """Return whether a row has as many outputs as its label has numbers."""
    return int(np.prod(labels.shape[1:])) == int(np.prod(output[1:]))


def check_classes(output: tuple[int, ...], labels: np.ndarray, class_axis: int) -> None:
    """Raise ModelError where labels are not class numbers with one output for each class."""
    places = [size for axis, size in enumerate(output) if axis != class_axis % len(output)]
    if labels.ndim > 1 and tuple(places[1:]) != labels.shape[1:]:
        raise misfit(output, labels, "there is not one label for each place", class_axis)
    width, low, high = output[class_axis], int(labels.min()), int(labels.max())
    if low < 0 or high >= width:
        advice = f"give the model {high + 1} outputs" if low >= 0 else "number the classes from 0"
        if low == 1 and high == width:
            advice = "number the classes from 0: subtract 1 from the labels"
        raise ModelError(
            f"the model has {width} outputs, but labels run from {low} to {high}", advice
        )


def misfit(output: tuple[int, ...], labels: np.ndarray, why: str, class_axis: int) -> ModelError:
    """Return the error for outputs and labels that don't go together, with both shapes."""
    kind = "class numbers" if is_classes(labels) else "measurements"
    outputs, found = (", ".join(map(str, ("rows", *shape[1:]))) for shape in (output, labels.shape))
    hint = "give the model one output for each class, or one output where labels are measurements"
    if len(output) == labels.ndim + 1 > 2:
        hint = "the axis of classes comes last: (rows, ..., classes)"
        if class_axis == 1:
            hint = (
                "the axis of classes comes second: (rows, classes, ...); swap them with "
                "transpose(1, 2)"
            )
    return ModelError(
        f"the model's outputs are ({outputs}) and the labels {kind} of shape ({found}): {why}", hint
    )
