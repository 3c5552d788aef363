"""A first look at a Keras model before it is trained."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from fusion_nb.errors import ModelError


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
    """Raise ModelError for a fixed size of batches, weights of one name, or none to train."""
    sizes = [tensor.shape[0] for tensor in getattr(model, "inputs", None) or ()]
    if fixed := [size for size in sizes if size is not None]:
        raise ModelError(
            f"the model takes batches of {fixed[0]} rows only, and the last batch of a party and "
            "those of evaluation have other sizes",
            "give keras.Input a shape, and no batch_size or batch_shape; a recurrent layer must "
            "not be stateful",
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        line = f"{len(twice)} weights are not named uniquely: {', '.join(twice[:3])}"
        raise ModelError(line, "give each layer a name of its own (name=...)")
    if not model.trainable_variables:
        raise ModelError(
            "the model has no weight that training may change",
            "set trainable = True on some layers",
        )


def is_built(model: Any) -> bool:
    """Return whether a model has all its weights.

    A subclass counts as built for Keras once its build(shape) was called, with or without weights.
    """
    is_graph = isinstance(model, keras.Sequential) or getattr(model, "inputs", None) is not None
    return bool(model.built) and (is_graph or all(layer.built for layer in layers_of(model)))


def first_line(error: Exception) -> str:
    """Return the line of an error's text that says what is wrong.

    Keras writes it in bold, below the place of the error.
    """
    text = str(error)
    if bold := re.match(
        r"Exception encountered when calling (\S+?)\.?\s.*?\x1b\[1m(.+?)\x1b\[0m", text, re.S
    ):
        text = f"{bold[1]}: {bold[2]}"
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return textwrap.shorten(lines[0], 160, placeholder=" ...") if lines else type(error).__name__
