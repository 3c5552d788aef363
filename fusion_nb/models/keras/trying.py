"""Trials of a Keras model before training: all that training and evaluation will ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fusion_nb.errors import ModelError, option
from fusion_nb.models.keras import randomness, trees
from fusion_nb.models.keras.own_steps import batches_as_in_fit
from fusion_nb.models.keras.probe import first_line


@dataclass(frozen=True)
class Outputs:
    """The outputs of a model that has several.

    arrays: name -> values for some rows;  is_dict: call() returns them by name, else in order
    """

    arrays: dict[str, np.ndarray]
    is_dict: bool


@contextmanager
def undone(model: Any) -> Iterator[None]:
    """Restore every variable of a model afterwards, states of random numbers among them."""
    variables = list(model.variables)
    kept = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    with randomness.own_randomness(0):
        yield
    for variable, value in zip(variables, kept, strict=True):
        variable.assign(value)


def build(model: Any, x: Any) -> None:
    """Give a model its weights by calling it on rows. Raises ModelError where it can't be."""
    try:
        if isinstance(model, keras.Sequential):
            model.build((None, *x.shape[1:]))
        else:
            model(x, training=False)
    except Exception as error:
        raise no_fit(x, error) from error


def output_of(model: Any, x: Any) -> np.ndarray | Outputs:
    """Return the model's output for some rows.

    Raises ModelError where the rows don't fit, or the output has not one entry for each row.
    """
    num_rows = len(trees.leaves(x)[0])
    try:
        output = model(x, training=False)
        arrays = _named_arrays(model, output)
    except Exception as error:
        raise no_fit(x, error) from error
    for found in arrays.values():
        if found.ndim == 0 or len(found) != num_rows:
            raise ModelError(
                f"for {num_rows} rows the model returns shape {found.shape}",
                "return tensors with one entry for each row",
            )
        if not np.isfinite(found).all():
            raise ModelError(
                "the model's output is not finite before any training",
                "look for NaN in its weights",
            )
    if len(arrays) == 1 and not isinstance(output, dict):
        return next(iter(arrays.values()))
    return Outputs(arrays, isinstance(output, dict))


def try_training(model: Any, loss: str, batch: tuple[Any, Any, Any]) -> dict[str, Any]:
    """Do one step of training and one of evaluation; return the metrics that Keras measures.

    batch: (x, y, weights or None)
    Raises ModelError, with the loss's name, where they fail.
    """
    x, y, weights = batch
    _check_evaluation(model)
    try:
        with batches_as_in_fit(model):
            trained = model.train_on_batch(x, y, sample_weight=weights, return_dict=True)
            measured = model.test_on_batch(x, y, sample_weight=weights, return_dict=True)
    except Exception as error:
        if str(error).startswith("Exception encountered when calling"):  # a layer, and not the loss
            raise ModelError(
                f"the model can't be trained: {first_line(error)}",
                "write call() with operations that Keras can trace, such as keras.ops, or compile "
                "the model with run_eagerly=True",
            ) from error
        if own := [step for step in ("train_step", "test_step") if _is_own(model, step)]:
            raise ModelError(
                f"the model's own {' or '.join(own)} fails: {type(error).__name__}: "
                f"{first_line(error)}",
                "try it on one batch: model.train_on_batch(x, y)",
            ) from error
        line = (
            f"the loss {loss} can't compare the model's output with the labels: {first_line(error)}"
        )
        raise ModelError(
            line, f"name another one with {option('loss')}, or give a function of (target, output)"
        ) from error
    for step, found in (("train_step", trained), ("test_step", measured)):
        if "loss" not in found:
            raise ModelError(
                f"the model's own {step} returns no 'loss'",
                "add it to the dictionary that it returns",
            )
    return dict(measured)


def _check_evaluation(model: Any) -> None:
    """Raise ModelError for metrics of the model's own that no evaluation would update."""
    kind = type(model)
    if kind.metrics is not keras.Model.metrics and kind.test_step is keras.Model.test_step:
        raise ModelError(
            f"{kind.__name__} has metrics of its own, and Keras's test_step does not update them: "
            "an evaluation would measure nothing",
            "write a test_step(data) that computes the loss, updates them and returns them as "
            "train_step does",
        )


def try_one_row(model: Any, loss: str, batch: tuple[Any, Any, Any]) -> None:
    """Try the last batch of a party, which may have one row, in training and in evaluation.

    Raises ModelError where the model takes more rows, but not one.
    """
    x, y, weights = (trees.mapped(_first, part) if part is not None else None for part in batch)
    for training in (True, False):
        try:
            output = model(x, training=training)
            shapes = [tuple(found.shape) for found in keras.tree.flatten(output)]
            if all(shape[:1] == (1,) for shape in shapes):
                model.compute_loss(x=x, y=y, y_pred=output, sample_weight=weights)
                continue
            why = f"it returns the shape {shapes[0]}"
        except Exception as error:
            why = first_line(error)
        raise ModelError(
            f"the model takes several rows at once, but not one, as the last batch of a party or "
            f"of evaluation may have: {why}",
            f"keep the axis of rows: keras.ops.squeeze(x, axis=-1); the loss is {loss}",
        )


def no_fit(x: Any, error: Exception) -> ModelError:
    """Return the error for rows that the model does not take."""
    shapes = [array.shape[1:] for array in trees.leaves(x)]
    hint = "match the first layer to the rows, or the rows to it"
    if len(shapes) > 1:
        return ModelError(
            f"the model does not take rows of {len(shapes)} arrays of shapes "
            f"{', '.join(map(str, shapes))}: {first_line(error)}",
            "give a row's arrays as its inputs are: a dict by their names, or a tuple in order",
        )
    return ModelError(
        f"the model does not take rows of shape {shapes[0]}: {first_line(error)}",
        f"{hint} (images need a channel axis for Conv2D)" if len(shapes[0]) == 2 else hint,
    )


def _named_arrays(model: Any, output: Any) -> dict[str, np.ndarray]:
    if isinstance(output, dict):
        return {str(name): _array(part) for name, part in output.items()}
    if not isinstance(output, list | tuple):
        return {"output": _array(output)}
    names = getattr(model, "output_names", None) or [f"output_{i}" for i in range(len(output))]
    return {str(name): _array(part) for name, part in zip(names, output, strict=True)}


def _array(tensor: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(tensor)).astype(np.float32)


def _first(array: Any) -> Any:
    return keras.ops.convert_to_tensor(array[:1])


def _is_own(model: Any, step: str) -> bool:
    """Return whether a model's class, and not Keras, defines one of its steps."""
    return not str(getattr(type(model), step).__module__).startswith(("keras.", "fusion_nb."))
