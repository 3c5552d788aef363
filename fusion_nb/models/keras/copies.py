"""Independent copies of Keras models."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from fusion_nb.core import seeds
from fusion_nb.errors import ModelError
from fusion_nb.models.keras.probe import first_line, layers_of


def copy_of(model: keras.Model) -> keras.Model:
    """Return an independent, uncompiled model of the same architecture, names and weights.

    Frozen layers are frozen in the copy. Raises ModelError for a model that Keras can't make again:
    a subclass that says nothing about its constructor, or that was given layers.
    """
    # A copy draws first weights that it won't keep, not from the user's random numbers.
    with seeds.SeededGlobalRandomness(0, exclusive=True):
        # clone_model compiles the clone of a compiled model, and fails where the loss is the user's
        # own function.
        compiled, model.compiled = model.compiled, False
        try:
            is_graph = (
                isinstance(model, keras.Sequential) or getattr(model, "inputs", None) is not None
            )
            other = clone(model) if is_graph else _made_again(model)
        except ModelError:
            raise
        except Exception as error:
            raise _uncopyable(model, f"{type(error).__name__}: {first_line(error)}") from error
        finally:
            model.compiled = compiled
        if model.built and not other.built:
            _build(other, model)
    if [v.shape for v in other.variables] != [v.shape for v in model.variables]:
        raise _uncopyable(model, "its constructor makes another model")
    if {id(variable) for variable in other.variables} & {
        id(variable) for variable in model.variables
    }:
        raise _uncopyable(model, "it was given layers, which its copy would share")
    if model.built:
        other.set_weights(model.get_weights())
    finish(other)
    for mine, theirs in zip(layers_of(other), layers_of(model), strict=True):
        mine.trainable = theirs.trainable
    # Layers inside layers are not listed by Keras; their variables are.
    for mine, theirs in zip(other.variables, model.variables, strict=True):
        mine.trainable = theirs.trainable
    return other


def clone(model: keras.Model) -> keras.Model:
    """Return a new model from the configuration of a Sequential or functional one."""
    return keras.models.clone_model(model, clone_function=_layer, recursive=True)


def _layer(layer: Any) -> Any:
    if isinstance(layer, keras.layers.Lambda):
        # Its configuration holds its code, which Keras rightly does not run; here it is the user's
        # own.
        config = {
            name: value
            for name, value in layer.get_config().items()
            if name in ("name", "arguments", "dtype")
        }
        return keras.layers.Lambda(layer.function, **config)
    return type(layer).from_config(layer.get_config())


def finish(model: keras.Model) -> None:
    """Let layers that prepare values from their weights (Normalization) do so for new weights."""
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()


def _made_again(model: keras.Model) -> keras.Model:
    """Return a new object of a subclass.

    Its arguments are those that Keras noted, or that the model keeps under their names.
    """
    try:
        noted = model.get_config()
    except NotImplementedError:
        noted = {}
    wanted = inspect.signature(type(model)).parameters.values()
    given: dict[str, Any] = {}
    for parameter in wanted:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in noted or hasattr(model, parameter.name):
            given[parameter.name] = noted.get(parameter.name, getattr(model, parameter.name, None))
        elif parameter.default is parameter.empty:
            raise _uncopyable(model, f"it does not keep its argument {parameter.name!r}")
    try:
        return type(model)(**given)
    except Exception as error:
        raise _uncopyable(model, f"{type(error).__name__}: {first_line(error)}") from error


def _build(other: keras.Model, model: keras.Model) -> None:
    config = model.get_build_config() or {}
    try:
        if config:
            other.build_from_config(config)
        shape = config.get("input_shape")
        if shape and (not other.built or len(other.variables) != len(model.variables)):
            other(np.zeros((1, *(size or 1 for size in shape[1:])), dtype=np.float32))
    except Exception as error:
        raise _uncopyable(model, f"its copy can't be built ({type(error).__name__})") from error


def _uncopyable(model: keras.Model, why: str) -> ModelError:
    return ModelError(
        f"Keras can't copy this {type(model).__name__}, and parties train copies: {why}",
        "give the class a get_config() that returns its constructor's arguments, or keep each as "
        "self.<name>",
    )
