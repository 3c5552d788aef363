"""The weights of a Keras model as named arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fusion_nb.core.types import Weights
from fusion_nb.models.keras import probe


def names_of(model: keras.Model) -> list[str]:
    """Return the paths of a model's weights without its own name, which Keras numbers."""
    return [variable.path.removeprefix(f"{model.name}/") for variable in model.weights]


class NamedVariables:
    """A model's weights under given names, matched by position.

    A copy of a subclass may number its layers differently, so that its own names don't match.
    """

    def __init__(self, model: keras.Model, names: list[str]) -> None:
        self._model = model
        self._names = names

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield each name with its variable."""
        return zip(self._names, self._model.weights, strict=True)

    def read(self) -> Weights:
        """Return a copy of every weight; bfloat16 becomes float32."""
        found = {}
        for name, variable in self:
            array = np.array(keras.ops.convert_to_numpy(variable))
            is_bfloat16 = array.dtype.kind == "V" or "bfloat16" in str(array.dtype)
            found[name] = array.astype(np.float32) if is_bfloat16 else array
        return found

    def write(self, weights: Weights) -> None:
        """Assign weights to the variables."""
        for name, variable in self:
            variable.assign(weights[name])

    def trained(self) -> dict[str, Any]:
        """Return the trainable variables by name."""
        trained = {id(variable) for variable in self._model.trainable_variables}
        return {name: variable for name, variable in self if id(variable) in trained}

    def batch_norm_names(self) -> frozenset[str]:
        """Return the names of batch normalization's weights: trained or frozen, and statistics."""
        own = {
            id(variable)
            for layer in probe.layers_of(self._model)
            if isinstance(layer, keras.layers.BatchNormalization)
            for variable in layer.weights
        }
        return frozenset(name for name, variable in self if id(variable) in own)
