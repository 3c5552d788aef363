"""The choice of the loss that a Keras model is trained with."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import ModelError, nearest
from fusion_nb.models import inference
from fusion_nb.models.keras.objective import Objective, Task

#: Keras's name -> the kind of targets. Losses of classes and of yes or no take logits or
#: probabilities.
_TASKS: dict[str, Task] = {
    "sparse_categorical_crossentropy": "classes",
    "categorical_crossentropy": "one_hot",
    "categorical_focal_crossentropy": "one_hot",
    "binary_crossentropy": "binary",
    "binary_focal_crossentropy": "binary",
    "mean_squared_error": "numbers",
    "mean_absolute_error": "numbers",
    "mean_absolute_percentage_error": "numbers",
    "mean_squared_logarithmic_error": "numbers",
    "huber": "numbers",
    "log_cosh": "numbers",
    "poisson": "numbers",
}
#: Activations whose outputs lie between 0 and 1.
_SIGMOIDS = ("sigmoid", "hard_sigmoid", "sparse_sigmoid")
_PROBABILITIES = {*_SIGMOIDS, "softmax"}
_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
}
NAMES = sorted({*_TASKS, *_SHORT})


def infer(output: np.ndarray, labels: LabelSchema, last: str) -> Objective:
    """Return the loss that fits a model's output and the labels.

    Raises ModelError where none does.
    last: name of the model's last activation, or ""
    """
    _check_softmax(output, last)
    labels = _without_channel(labels, output.shape)
    if labels.kind == "shares" and labels.shape == output.shape[1:]:
        logits, warning = _class_logits(output, last)
        why = f"labels are shares of classes; {_ends(logits, 'softmax')}"
        return replace(_named("categorical_crossentropy", logits, why, warning), graded=True)
    decision = inference.decide(output.shape, labels, class_axis=-1)
    if decision.task == "classes":
        return _of_classes(output, last)
    if decision.task == "binary":
        logits, warning = _binary_logits(output, last)
        return _named(
            "binary_crossentropy", logits, f"{decision.why}; {_ends(logits, 'sigmoid')}", warning
        )
    return _named("mean_squared_error", False, decision.why, decision.warning)


def _of_classes(output: np.ndarray, last: str) -> Objective:
    """Return the loss of class numbers with one output for each class."""
    width = output.shape[-1]
    if not _is_sigmoid(output, last):
        logits = not _sums_to_one(output)
        return _named("sparse_categorical_crossentropy", logits, _ends(logits, "softmax"))
    warning = (
        f"warning: the model ends in a sigmoid for each of {width} classes, and each class is "
        "learnt as yes or no; where a row has one class, end the model in softmax, or in no "
        "activation"
    )
    why = "one output for each class; the model ends in sigmoid"
    return replace(_named("binary_crossentropy", False, why, warning), columns=width)


def compiled(loss: Any, output: np.ndarray, labels: LabelSchema, last: str) -> Objective:
    """Return the loss that the user compiled the model with, as Keras understands it."""
    if isinstance(loss, list | tuple | dict) and len(loss) == 1:
        loss = next(iter(loss.values())) if isinstance(loss, dict) else loss[0]
    if isinstance(loss, str):
        found = keras.losses.get(loss)
        name = _SHORT.get(getattr(found, "__name__", loss), getattr(found, "__name__", loss))
        loss = (
            keras.losses.get({"class_name": _class_name(name), "config": {}})
            if name in _TASKS
            else found
        )
    return named(loss, output, labels, last, "as the model was compiled")


def named(
    loss: Any, output: np.ndarray, labels: LabelSchema, last: str, why: str = "as named"
) -> Objective:
    """Return the loss that the user named or gave. Raises ModelError.

    A loss that is named takes logits where the model ends in them; an object is used as it is.
    """
    _check_softmax(output, last)
    labels = _without_channel(labels, output.shape)
    if isinstance(loss, str):
        short = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", loss.rpartition(".")[2]).lower()
        name = _SHORT.get(short, short)
        if name not in _TASKS:
            with suppress(ValueError):
                return named(keras.losses.get(short), output, labels, last, why)
            raise ModelError(
                f"no loss is called {loss!r}",
                f"{nearest(short, NAMES)}there are: {', '.join(NAMES)}; or name a function of "
                "(target, output)",
                option="loss",
                value=loss,
                allowed=NAMES,
            )
        logits, warning = False, ""
        if _TASKS[name] in ("classes", "one_hot"):
            logits, warning = _class_logits(output, last)
            why = f"{why}; {_ends(logits, 'softmax')}"
        elif _TASKS[name] == "binary":
            logits, warning = _binary_logits(output, last)
            why = f"{why}; {_ends(logits, 'sigmoid')}"
        chosen = _named(name, logits, why, warning)
    else:
        chosen = _given(loss() if isinstance(loss, type) else loss, output, labels, last, why)
    chosen = _for_labels(chosen, output, labels)
    _check(chosen, output, labels)
    return chosen


def _for_labels(chosen: Objective, output: np.ndarray, labels: LabelSchema) -> Objective:
    """Return the loss with the form of target that these labels were written in.

    One-hot labels are kept as class numbers; a loss that compares entry by entry, or one of the
    user's own, is given the rows of 0 and 1 again.
    """
    is_fraction = chosen.task == "binary" and not labels.are_binary
    is_share = chosen.task == "one_hot" and not labels.are_whole
    if labels.one_hot and output.ndim == 2 and output.shape[-1] == labels.one_hot:
        if chosen.task in ("binary", "numbers"):
            return replace(chosen, columns=labels.one_hot)
        return replace(chosen, task="one_hot") if chosen.name not in _TASKS else chosen
    return replace(chosen, graded=True) if is_fraction or is_share else chosen


def _given(loss: Any, output: np.ndarray, labels: LabelSchema, last: str, why: str) -> Objective:
    kind = getattr(loss, "__name__", "") or type(loss).__name__
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    is_keras = type(loss).__module__.startswith("keras.") or getattr(
        loss, "__module__", ""
    ).startswith("keras.")
    if name in _TASKS and is_keras:
        config: dict[str, Any] = loss.get_config() if hasattr(loss, "get_config") else {}
        logits, warning = bool(config.get("from_logits", False)), ""
        is_wrong = _TASKS[name] in ("classes", "one_hot") and (
            logits == _sums_to_one(output) or _is_sigmoid(output, last)
        )
        is_wrong |= _TASKS[name] == "binary" and bool(last) and logits == (last in _PROBABILITIES)
        if is_wrong:
            is_what = "logits" if logits else "probabilities"
            warning = (
                f"warning: the loss {name} wants {is_what}, and the model's outputs look like none"
            )
        is_sum = config.get("reduction") == "sum"
        return Objective(name, loss, _TASKS[name], logits, why, warning, is_sum=is_sum)
    try:
        task: Task = inference.decide(output.shape, labels, class_axis=-1).task
    except ModelError:
        task = "own"
    logits = (
        _binary_logits(output, last)[0]
        if task == "binary"
        else task == "classes" and not _sums_to_one(output)
    )
    is_sum = getattr(loss, "reduction", "") == "sum"
    return Objective(name, loss, task, logits, why, is_keras=is_keras, is_sum=is_sum)


def _named(name: str, logits: bool, why: str, warning: str = "") -> Objective:
    config = {"from_logits": True} if logits else {}
    loss = keras.losses.get({"class_name": _class_name(name), "config": config})
    return Objective(name, loss, _TASKS[name], logits, why, warning)


def _class_name(name: str) -> str:
    return next(kind for kind in vars(keras.losses) if kind.lower() == name.replace("_", ""))


def _check(chosen: Objective, output: np.ndarray, labels: LabelSchema) -> None:
    """Raise ModelError where the loss can't compare these outputs with these labels."""
    if chosen.columns:
        return
    if chosen.task in ("classes", "one_hot"):
        one_hot = chosen.task == "one_hot" and labels.shape == output.shape[1:]
        if output.ndim < 2 or not (
            one_hot or (labels.are_whole and labels.ndim == output.ndim - 1)
        ):
            why = f"the loss {chosen.name} compares class numbers with one output for each class"
            raise inference.misfit(output.shape, labels, why, class_axis=-1)
        if not one_hot:
            inference.check_classes(output.shape, labels, class_axis=-1)
    elif chosen.task == "binary" and not 0 <= labels.scaled[0] <= labels.scaled[1] <= 1:
        low, high = labels.scaled
        line = f"the loss {chosen.name} wants labels 0 and 1, and they run from {low:g} to {high:g}"
        raise ModelError(
            line,
            "give the model one output for each class, and use sparse_categorical_crossentropy",
        )
    elif chosen.task in ("binary", "numbers") and not inference.same_size(output.shape, labels):
        why = f"the loss {chosen.name} wants as many outputs as numbers in each label"
        raise inference.misfit(output.shape, labels, why, class_axis=-1)


def _ends(logits: bool, activation: str) -> str:
    return "the model ends in logits" if logits else f"the model ends in {activation}"


def _sums_to_one(output: np.ndarray) -> bool:
    return bool((output >= 0).all()) and bool(np.allclose(output.sum(-1), 1, atol=1e-3))


def _is_sigmoid(output: np.ndarray, last: str) -> bool:
    """Return whether outputs are probabilities of their own, and not those of one class."""
    within = bool(((output >= 0) & (output <= 1)).all())
    return last in ("", *_SIGMOIDS) and within and not _sums_to_one(output)


def _class_logits(output: np.ndarray, last: str) -> tuple[bool, str]:
    """Return whether outputs for classes are logits, and a warning where they are a sigmoid's."""
    if not _is_sigmoid(output, last):
        return not _sums_to_one(output), ""
    return (
        False,
        f"warning: the model ends in a sigmoid for each of {output.shape[-1]} classes, and the "
        "loss wants probabilities that sum to 1; end it in softmax, or in no activation",
    )


def _check_softmax(output: np.ndarray, last: str) -> None:
    """Raise ModelError for a softmax over one output."""
    if last == "softmax" and output.ndim > 1 and output.shape[-1] == 1:
        raise ModelError(
            "the model ends in a softmax over one output, which is always 1",
            "use sigmoid, or two outputs",
        )


def _without_channel(labels: LabelSchema, output: tuple[int, ...]) -> LabelSchema:
    """Return labels without an axis of size one, such as that of a mask's channel.

    It goes where there is then one label for each place of outputs (rows, ..., classes).
    """
    shape, places = labels.shape, output[1:-1]
    if shape == output[1:] or not places:
        return labels
    fits = (shape[-1:] == (1,) and shape[:-1] == places) or (
        shape[:1] == (1,) and shape[1:] == places
    )
    return replace(labels, shape=places) if fits else labels


def _binary_logits(output: np.ndarray, last: str) -> tuple[bool, str]:
    """Return whether outputs for yes or no are logits, and a warning where that is a guess."""
    if last:
        return last not in _PROBABILITIES, ""
    if ((output > 0) & (output < 1)).all():
        return (
            False,
            "warning: all outputs lie between 0 and 1 and are taken for probabilities; else name "
            "the loss",
        )
    return True, ""
