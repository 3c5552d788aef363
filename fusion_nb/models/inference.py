"""The task of a model of any framework, inferred from the shapes of its outputs and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fusion_nb.core.schema import LabelSchema
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


def decide(output: tuple[int, ...], labels: LabelSchema, class_axis: int) -> Decision:
    """Return the task for outputs of a shape, whose first axis is the rows, and labels.

    class_axis: the axis of outputs that has one entry for each class: 1 in PyTorch, -1 in Keras
    Raises ModelError where they don't go together.
    """
    width = output[class_axis] if len(output) > 1 else 1
    if width > 1 and labels.are_whole and labels.ndim == len(output) - 1:
        check_classes(output, labels, class_axis)
        return Decision("classes", "one output for each class")
    if width == 1 and labels.ndim == 1:
        if labels.are_binary:
            return Decision("binary", "one output and labels 0 and 1")
        kinds = len(labels.values or ()) if labels.are_whole else 0
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
        if labels.are_binary:
            return Decision("binary", "as many outputs as labels of 0 and 1 for each row")
        return Decision("numbers", "as many outputs as numbers in each label", _doubt(labels))
    raise misfit(output, labels, "these don't go together", class_axis)


def _doubt(labels: LabelSchema) -> str:
    """Return a warning where labels of several numbers look like classes, or ""."""
    kinds = len(labels.values or ()) if labels.are_whole else 0
    if not 1 < kinds <= _MAX_FEW:
        return ""
    which = "0 and 1" if kinds == 2 else f"0 to {kinds - 1}, with an output for each class"
    return (
        f"warning: the labels of a row are {kinds} different whole numbers; if they are classes, "
        f"number them {which}"
    )


def same_size(output: tuple[int, ...], labels: LabelSchema) -> bool:
    """Return whether a row has as many outputs as its label has numbers."""
    return int(np.prod(labels.shape)) == int(np.prod(output[1:]))


def check_classes(output: tuple[int, ...], labels: LabelSchema, class_axis: int) -> None:
    """Raise ModelError where labels are not class numbers with one output for each class."""
    places = [size for axis, size in enumerate(output) if axis != class_axis % len(output)]
    if labels.shape and tuple(places[1:]) != labels.shape:
        raise misfit(output, labels, "there is not one label for each place", class_axis)
    width, (low, high) = output[class_axis], (int(number) for number in labels.scaled)
    if low < 0 or high >= width:
        raise ModelError(
            f"the model has {width} outputs, but labels run from {low} to {high}",
            _advice(labels, width, low, high),
        )


def _advice(labels: LabelSchema, width: int, low: int, high: int) -> str:
    """Return how labels that are no numbers of a model's outputs are put right."""
    if low == 1 and high == width:
        return "number the classes from 0: subtract 1 from the labels"
    kinds = len(labels.values or ())
    has_gaps = 0 < kinds <= (high - low + 1) // 2
    if has_gaps:
        return (
            f"they are {kinds} different numbers: number them from 0, as "
            "np.unique(labels, return_inverse=True)[1] does, and give the model "
            f"{kinds} outputs"
        )
    return f"give the model {high + 1} outputs" if low >= 0 else "number the classes from 0"


def misfit(output: tuple[int, ...], labels: LabelSchema, why: str, class_axis: int) -> ModelError:
    """Return the error for outputs and labels that don't go together, with both shapes."""
    kind = "class numbers" if labels.are_whole else "measurements"
    shapes = (output[1:], labels.shape)
    outputs, found = (", ".join(map(str, ("rows", *shape))) for shape in shapes)
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
