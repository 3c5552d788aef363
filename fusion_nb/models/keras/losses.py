"""The loss that a Keras model is trained with, and the metrics of its outputs."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import ModelError, nearest
from fusion_nb.models import inference

Task = Literal["classes", "one_hot", "binary", "numbers", "own"]

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
_PROBABILITIES = {"sigmoid", "hard_sigmoid", "sparse_sigmoid", "softmax"}
_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
}
NAMES = sorted({*_TASKS, *_SHORT})


@dataclass(frozen=True)
class Objective:
    """A loss, and the form of target that it takes.

    task:     the kind of its targets; "one_hot" is classes written as rows of 0 and 1, "own" is
              known to the user's callable alone
    logits:   outputs are logits, not probabilities
    why:      how it was chosen;  warning: a doubt that the user should look at, or ""
    is_keras: the loss is one of Keras's own, so that a saved model can hold it
    is_sum:   it sums over a batch, where others average
    """

    name: str
    loss: Any
    task: Task
    logits: bool = False
    why: str = ""
    warning: str = ""
    is_keras: bool = True
    is_sum: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that go with the task, the monitored one first."""
        if self.task == "numbers":
            return ("loss", "mae") if self.name == "mean_squared_error" else ("loss", "mse", "mae")
        return ("loss",) if self.task == "own" else ("accuracy", "loss")

    def measures(self) -> list[keras.metrics.Metric]:
        """Return new metric objects for `compile`; the loss is measured by itself."""
        if self.task == "numbers":
            kinds = {"mse": keras.metrics.MeanSquaredError, "mae": keras.metrics.MeanAbsoluteError}
            return [kinds[name](name=name) for name in self.metrics if name in kinds]
        if self.task == "own":
            return []
        if self.task == "binary":
            # Keras wants a threshold above 0; this is as good as 0, where a logit says yes.
            return [
                keras.metrics.BinaryAccuracy(
                    name="accuracy", threshold=1e-7 if self.logits else 0.5
                )
            ]
        sparse = self.task == "classes"
        kind = (
            keras.metrics.SparseCategoricalAccuracy if sparse else keras.metrics.CategoricalAccuracy
        )
        return [kind(name="accuracy")]

    def target(self, y: np.ndarray, output: tuple[int, ...]) -> np.ndarray:
        """Return labels in the type and shape that the loss takes.

        output: the shape (rows, ...) of the model's output
        """
        if self.task == "classes":
            return y.reshape(len(y), *output[1:-1]).astype(np.int64)
        if self.task == "one_hot":
            return (
                y.astype(np.float32)
                if y.ndim == len(output)
                else np.eye(output[-1], dtype=np.float32)[y]
            )
        if self.task == "own":
            return y
        return y.astype(np.float32).reshape(len(y), *output[1:])


def infer(output: np.ndarray, labels: LabelSchema, last: str) -> Objective:
    """Return the loss that fits a model's output and the labels.

    Raises ModelError where none does.
    last: name of the model's last activation, or ""
    """
    decision = inference.decide(output.shape, labels, class_axis=-1)
    if decision.task == "binary" and last == "softmax":
        raise ModelError(
            "the model ends in a softmax over one output, which is always 1",
            "use sigmoid, or two outputs",
        )
    if decision.task == "classes":
        logits = not _sums_to_one(output)
        return _named("sparse_categorical_crossentropy", logits, _ends(logits, "softmax"))
    if decision.task == "binary":
        logits, warning = _binary_logits(output, last)
        return _named(
            "binary_crossentropy", logits, f"{decision.why}; {_ends(logits, 'sigmoid')}", warning
        )
    return _named("mean_squared_error", False, decision.why, decision.warning)


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
            logits = not _sums_to_one(output)
            why = f"{why}; {_ends(logits, 'softmax')}"
        elif _TASKS[name] == "binary":
            logits, warning = _binary_logits(output, last)
            why = f"{why}; {_ends(logits, 'sigmoid')}"
        chosen = _named(name, logits, why, warning)
    else:
        chosen = _given(loss() if isinstance(loss, type) else loss, output, labels, last, why)
    _check(chosen, output, labels)
    return chosen


def _given(loss: Any, output: np.ndarray, labels: LabelSchema, last: str, why: str) -> Objective:
    kind = getattr(loss, "__name__", "") or type(loss).__name__
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    is_keras = type(loss).__module__.startswith("keras.") or getattr(
        loss, "__module__", ""
    ).startswith("keras.")
    if name in _TASKS and is_keras:
        config: dict[str, Any] = loss.get_config() if hasattr(loss, "get_config") else {}
        logits, warning = bool(config.get("from_logits", False)), ""
        is_wrong = _TASKS[name] in ("classes", "one_hot") and logits == _sums_to_one(output)
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
