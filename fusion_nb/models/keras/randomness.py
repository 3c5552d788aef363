"""The random numbers of a Keras model, made to depend on a seed alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

from fusion_nb.core import seeds

#: The end of the paths of variables that belong to random numbers, and not to the model.
_STATE = "seed_generator_state"


def seed_generators(model: keras.Model, seed: int) -> None:
    """Set every seed generator of a model (dropout has one), which Keras keeps as variables."""
    generators = [variable for variable in model.variables if variable.path.endswith(_STATE)]
    for number, variable in enumerate(generators):
        variable.assign(np.array([seeds.number(seed, "generator", number) % (2**31 - 1), 0]))


def own_randomness(seed: int) -> AbstractContextManager[Any]:
    """Return a context in which the backend's own random numbers depend on the seed alone.

    Keras's PyTorch backend leaves dropout to PyTorch's generator, unless a layer was given a seed.
    """
    if keras.backend.backend() != "torch":
        return nullcontext()
    from fusion_nb.models.torch_randomness import OwnRandomness

    return OwnRandomness(seed + 1)
