"""Finds a loss or a layer that uses the notebook's own model, where parties train copies of it."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Any

import keras

from fusion_nb.errors import ModelError

_HINT = (
    "a penalty on weights belongs to the model itself: kernel_regularizer=..., or self.add_loss() "
    "in a layer's call(); a layer that call() uses is kept as self.<name>"
)


def check(model: keras.Model, theirs: keras.Model, loss: str, batch: tuple[Any, Any, Any]) -> None:
    """Raise ModelError where training a copy would change the user's own model, or miss a part.

    model: the compiled copy;  theirs: the user's model, which keeps no gradient of this
    loss:  the name of the loss;  batch: (x, y, weights of the rows or None)
    """
    found = ""
    # Errors of the model itself are those of the first step, which is tried next.
    with suppress(Exception):
        found = _reached(model, theirs, batch)
    if found:
        raise ModelError(
            f"{found} of the notebook's own model is used by the loss {loss} or by a layer's "
            "function, and parties train copies: this part would train nothing",
            _HINT,
        )


def _reached(model: keras.Model, theirs: keras.Model, batch: tuple[Any, Any, Any]) -> str:
    """Return the path of a weight of the user's model that has a gradient, or ""."""
    x, y, weight = (keras.tree.map_structure(_tensor, part) for part in batch)
    variables = [v for v in theirs.trainable_variables if v.value is not None]

    def loss() -> Any:
        output = model(x, training=True)
        return model.compute_loss(x=x, y=y, y_pred=output, sample_weight=weight)

    gradients = {"tensorflow": _of_tensorflow, "torch": _of_torch}.get(keras.backend.backend())
    if gradients is None or not variables:
        return ""
    found = zip(variables, gradients(loss, variables), strict=True)
    return next((str(variable.path) for variable, slope in found if slope is not None), "")


def _of_tensorflow(loss: Any, variables: list[Any]) -> list[Any]:
    tf: Any = importlib.import_module("tensorflow")

    with tf.GradientTape() as tape:
        value = loss()
    return list(tape.gradient(value, [variable.value for variable in variables]))


def _of_torch(loss: Any, variables: list[Any]) -> list[Any]:
    import torch

    with torch.enable_grad():
        value = loss()
        if not value.requires_grad:
            return [None] * len(variables)
        inputs = [variable.value for variable in variables]
        return list(torch.autograd.grad(value, inputs, allow_unused=True))


def _tensor(array: Any) -> Any:
    return None if array is None else keras.ops.convert_to_tensor(array)
