"""A first look at a Keras model before it is trained."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from fusion_nb.errors import ModelError, option


def layers_of(model: Any) -> Iterator[Any]:
    """Yield the layers of a model, and those of models inside it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from layers_of(layer)


def last_activation(model: Any) -> str:
    """Return the name of the activation that the model ends in, or "" where it can't be told."""
    last = model.layers[-1] if model.layers else None
    if hasattr(last, "layers"):
        return last_activation(last)
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    activation = getattr(last, "activation", None)
    return (
        str(getattr(activation, "__name__", type(activation).__name__))
        if activation is not None
        else ""
    )


def scales_itself(model: Any) -> bool:
    """Return whether a model scales bytes itself: by a layer, or by arithmetic on its input."""
    if any(
        isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)
        for layer in layers_of(model)
    ):
        return True
    operations = [
        each
        for each in getattr(model, "operations", ())
        if not isinstance(each, keras.layers.InputLayer)
    ]
    return bool(operations) and not isinstance(operations[0], keras.Layer)


def embedding_size(model: Any) -> int:
    """Return the input size of the Embedding that the model begins with, or 0 without one."""
    first = next(
        (layer for layer in layers_of(model) if not isinstance(layer, keras.layers.InputLayer)),
        None,
    )
    return int(first.input_dim) if isinstance(first, keras.layers.Embedding) else 0


def check_form(model: Any, names: Sequence[str]) -> None:
    """Raise ModelError for several inputs or outputs, or weights of the same name."""
    for what in ("inputs", "outputs"):
        found = getattr(model, what, None)
        if found is not None and len(found) != 1:
            raise ModelError(
                f"the model has {len(found)} {what}, and parties train models with one",
                f"join the {what} first",
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        line = f"{len(twice)} weights are not named uniquely: {', '.join(twice[:3])}"
        raise ModelError(line, "give each layer a name of its own (name=...)")
    if not model.trainable_variables:
        raise ModelError(
            "the model has no weight that training may change",
            "set trainable = True on some layers",
        )


def output_of(model: Any, x: np.ndarray) -> np.ndarray:
    """Return the model's output for some rows.

    Raises ModelError where the rows don't fit, or the output is no single tensor.
    """
    try:
        output = model(x, training=False)
        is_one = not isinstance(output, list | tuple | dict)
        found = np.array(keras.ops.convert_to_numpy(output)) if is_one else None
    except Exception as error:
        raise no_fit(x, error) from error
    if found is None or found.ndim == 0 or len(found) != len(x):
        what = type(output).__name__ if found is None else f"shape {found.shape}"
        raise ModelError(
            f"for {len(x)} rows the model returns {what}", "return one tensor with one entry a row"
        )
    found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise ModelError(
            "the model's output is not finite before any training", "look for NaN in its weights"
        )
    return found


def try_training(model: Any, loss: str, x: np.ndarray, y: np.ndarray) -> None:
    """Do one step of training and of evaluation, and undo it.

    Raises ModelError, with the loss's name, where they fail.
    """
    weights = [np.array(w) for w in model.get_weights()]
    try:
        trained = model.train_on_batch(x, y, return_dict=True)
        model.test_on_batch(x, y)
    except Exception as error:
        if str(error).startswith("Exception encountered when calling"):  # a layer, and not the loss
            raise no_fit(x, error) from error
        line = (
            f"the loss {loss} can't compare the model's output with the labels: {first_line(error)}"
        )
        raise ModelError(
            line, f"name another one with {option('loss')}, or give a function of (target, output)"
        ) from error
    if "loss" not in trained:
        raise ModelError(
            "the model's own train_step returns no 'loss'",
            "add it to the dictionary that it returns",
        )
    model.set_weights(weights)


def no_fit(x: np.ndarray, error: Exception) -> ModelError:
    """Return the error for rows that the model does not take."""
    hint = "match the first layer to the rows, or the rows to it"
    return ModelError(
        f"the model does not take rows of shape {x.shape[1:]}: {first_line(error)}",
        f"{hint} (images need a channel axis for Conv2D)" if x.ndim == 3 else hint,
    )


def first_line(error: Exception) -> str:
    """Return the line of an error's text that says what is wrong.

    Keras writes it in bold, below the place of the error.
    """
    text = str(error)
    if text.startswith("Exception encountered when calling") and (
        bold := re.search(r"\x1b\[1m(.+?)\x1b\[0m", text, re.S)
    ):
        text = bold[1]
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return textwrap.shorten(lines[0], 160, placeholder=" ...") if lines else type(error).__name__
