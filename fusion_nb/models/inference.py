"""The task of a model of any framework, inferred from the shapes of its outputs and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fusion_nb.core.guesses import doubtful_names
from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import ModelError

Task = Literal["classes", "binary", "numbers", "own"]
#: Whole-numbered labels look like classes where they are of at most this number of kinds.
_MAX_FEW = 10
#: Labels beyond this number of classes are hardly class numbers of a model.
_MANY_CLASSES = 100_000
#: Classes that a message names.
_NAMED_CLASSES = 10
#: The numbers that mark places to leave out: PyTorch's default, and the border of masks.
NOT_COUNTED, BORDER = -100, 255


@dataclass(frozen=True)
class Decision:
    """The task, why it was chosen, and a doubt that the user should look at, or "".

    ignored: the label of places that are left out, or None
    """

    task: Task
    why: str
    warning: str = ""
    ignored: int | None = None


def decide(
    output: tuple[int, ...], labels: LabelSchema, class_axis: int, *, may_ignore: bool = False
) -> Decision:
    """Return the task for outputs of a shape, whose first axis is the rows, and labels.

    class_axis: the axis of outputs that has one entry for each class: 1 in PyTorch, -1 in Keras
    may_ignore: whether labels may hold a number that marks places to leave out
    Raises ModelError where they don't go together.
    """
    width = output[class_axis] if len(output) > 1 else 1
    if width > 1 and labels.are_whole and name_places(output, labels, class_axis):
        ignored = left_out(labels, width) if may_ignore else None
        counted = labels if ignored is None else labels.without(ignored)
        check_classes(output, counted, class_axis)
        return Decision("classes", "one output for each class", ignored=ignored)
    if width == 1 and labels.one_hot > 2:
        raise misfit(output, labels, "there is not one output for each column", class_axis)
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


def left_out(labels: LabelSchema, width: int) -> int | None:
    """Return the label that marks places to leave out of a loss over `width` classes, or None.

    It is -100, or 255 in masks where all other labels are class numbers.
    """
    if labels.scale != 1 or len(labels.values or (0, 1)) < 2:
        return None
    if holds(labels, NOT_COUNTED):
        return NOT_COUNTED
    low, high = labels.without(BORDER).scaled
    is_border = labels.shape and holds(labels, BORDER) and 0 <= low <= high < width <= BORDER
    return BORDER if is_border else None


def holds(labels: LabelSchema, number: int) -> bool:
    """Return whether labels hold a whole number; also where that is not known for sure."""
    if labels.values is not None:
        return number in labels.values
    return (
        labels.low is not None and labels.high is not None and labels.low <= number <= labels.high
    )


def name_places(output: tuple[int, ...], labels: LabelSchema, class_axis: int) -> bool:
    """Return whether labels have as many axes as places of outputs have class numbers.

    Masks may have an axis of size 1 for their channel, beside the places.
    """
    return labels.ndim == len(output) - 1 or _has_channel(_places(output, class_axis), labels.shape)


def _places(output: tuple[int, ...], class_axis: int) -> tuple[int, ...]:
    """Return the shape of a row's places: that of outputs without the axis of classes."""
    sizes = [size for axis, size in enumerate(output) if axis != class_axis % len(output)]
    return tuple(sizes[1:])


def _has_channel(places: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return shape in ((1, *places), (*places, 1))


def _doubt(labels: LabelSchema) -> str:
    """Return a warning where labels of several numbers look like classes, or ""."""
    kinds = len(labels.values or ()) if labels.are_whole else 0
    if not 1 < kinds <= _MAX_FEW:
        return ""
    which = "0 and 1" if kinds == 2 else f"0 to {kinds - 1}, with an output for each class"
    if BORDER in (labels.values or ()):
        return (
            f"warning: the labels of a row are {kinds} different whole numbers, {BORDER} among "
            f"them; where it marks places to leave out, give the model an output for each class"
        )
    return (
        f"warning: the labels of a row are {kinds} different whole numbers; if they are classes, "
        f"number them {which}"
    )


def same_size(output: tuple[int, ...], labels: LabelSchema) -> bool:
    """Return whether a row has as many outputs as its label has numbers, in the same order.

    Axes of size 1 don't matter, and either may be flat.
    """
    mine, theirs = ([size for size in shape if size > 1] for shape in (output[1:], labels.shape))
    is_flat = len(mine) <= 1 or len(theirs) <= 1
    return mine == theirs or (is_flat and int(np.prod(mine)) == int(np.prod(theirs)))


def check_classes(output: tuple[int, ...], labels: LabelSchema, class_axis: int) -> None:
    """Raise ModelError where labels are not class numbers with one output for each class."""
    places, width = _places(output, class_axis), output[class_axis]
    if labels.shape and places != labels.shape and not _has_channel(places, labels.shape):
        raise misfit(output, labels, "there is not one label for each place", class_axis)
    low, high = (int(number) for number in labels.scaled)
    if labels.one_hot > width:
        raise ModelError(
            f"the model has {width} outputs, and the one-hot labels {labels.one_hot} columns",
            f"give the model {labels.one_hot} outputs",
        )
    if low < 0 or high >= width:
        raise ModelError(
            f"the model has {width} outputs, but labels run from {low} to {high}",
            _advice(labels, width, low, high),
        )


def _advice(labels: LabelSchema, width: int, low: int, high: int) -> str:
    """Return how labels that are no numbers of a model's outputs are put right."""
    if low == 1 and high == width:
        return "number the classes from 0: subtract 1 from the labels"
    if labels.values == (-1, 1):
        return "number the classes from 0: (labels + 1) // 2"
    kinds = len(labels.values or ())
    has_gaps = 0 < kinds <= (high - low + 1) // 2
    numbering = "number them from 0, as np.unique(labels, return_inverse=True)[1] does"
    if NOT_COUNTED in (labels.values or ()):
        return (
            f"{NOT_COUNTED} can mark places to leave out where the others are class numbers from "
            "0 on, with an output for each"
        )
    if has_gaps and BORDER in (labels.values or ()):
        return (
            f"where {BORDER} marks places to leave out, say so: "
            f"nn.CrossEntropyLoss(ignore_index={BORDER}); else {numbering}, and give the model "
            f"{kinds} outputs"
        )
    if has_gaps:
        return (
            f"they are {kinds} different numbers: {numbering}, and give the model {kinds} outputs"
        )
    if high >= _MANY_CLASSES:
        return (
            f"they look like ids, not like classes: {numbering}, and give the model an output for "
            "each; or give it one output where they are measurements"
        )
    return _more_outputs(labels, high + 1) if low >= 0 else "number the classes from 0"


def _more_outputs(labels: LabelSchema, count: int) -> str:
    """Return how many outputs are needed, and for which classes."""
    named = ""
    if labels.classes:
        more = ", ..." if len(labels.classes) > _NAMED_CLASSES else ""
        named = f", for the classes {', '.join(map(repr, labels.classes[:_NAMED_CLASSES]))}{more}"
    if doubtful := doubtful_names(labels.classes):
        return (
            f"{doubtful}: put the labels right, as frame[label].str.strip().str.lower() does, or "
            f"give the model {count} outputs{named}"
        )
    return f"give the model {count} outputs{named}"


def misfit(output: tuple[int, ...], labels: LabelSchema, why: str, class_axis: int) -> ModelError:
    """Return the error for outputs and labels that don't go together, with both shapes."""
    kind = "class numbers" if labels.are_whole else "measurements"
    if labels.one_hot:
        kind = "one-hot classes"
    elif labels.kind == "shares":
        kind = "shares of classes"
    shapes = (output[1:], (labels.one_hot,) if labels.one_hot else labels.shape)
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
