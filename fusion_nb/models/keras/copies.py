"""Independent copies of Keras models."""

from __future__ import annotations

from typing import Any

import keras

from fusion_nb.core import seeds
from fusion_nb.errors import ModelError
from fusion_nb.models.keras import object_graphs
from fusion_nb.models.keras.probe import first_line, layers_of


def copy_of(model: keras.Model) -> keras.Model:
    """Return an independent, uncompiled model of the same layers, names, weights and settings.

    Raises ModelError, with the layer's name, where a weight would be shared with the copy.
    """
    try:
        other = object_graphs.copied(model)
    except Exception as error:  # attributes of the user's own classes may raise anything
        raise _uncopyable(model, f"{type(error).__name__}: {first_line(error)}") from error
    theirs = {id(variable) for variable in model.variables}
    if len(other.variables) != len(theirs):
        raise _uncopyable(model, "its copy has other weights")
    for mine in other.variables:
        if id(mine) in theirs:
            raise _uncopyable(model, f"{mine.path} would be shared with the copy")
    return other


def renewed(model: keras.Model) -> keras.Model:
    """Return a model of the same layers whose first weights are drawn anew when it is built.

    A Sequential is made again from its configuration, so that the current random numbers decide,
    and not those of the cell that made it. Layers that have no usable configuration, and
    subclasses, keep the seeds of their initializers.
    """
    if isinstance(model, keras.Sequential) and not any(map(_is_own, layers_of(model))):
        return keras.models.clone_model(model, clone_function=_layer, recursive=True)
    # Copies draw nothing, but a layer of the user's own may.
    with seeds.SeededGlobalRandomness(0, exclusive=True):
        return copy_of(model)


def finish(model: keras.Model) -> None:
    """Let layers that prepare values from their weights (Normalization) do so for new weights."""
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()


def _layer(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _is_own(layer: Any) -> bool:
    """Return whether a layer is of the user's own class, or holds a function of the user's own."""
    if isinstance(layer, keras.layers.Lambda) or not type(layer).__module__.startswith("keras."):
        return True
    functions = (value for value in vars(layer).values() if hasattr(value, "__code__"))
    return any(
        not str(getattr(function, "__module__", "")).startswith("keras.") for function in functions
    )


def _uncopyable(model: keras.Model, why: str) -> ModelError:
    return ModelError(
        f"this {type(model).__name__} can't be copied, and parties train copies: {why}",
        "keep nothing but layers, weights and plain values in its attributes",
    )
