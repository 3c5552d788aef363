"""A `train_step` or `test_step` of the user's own, which gets batches as `fit` gives them.

Keras's `train_on_batch` gives (x, y, None) where `fit` gives (x, y), and `x, y = data` takes two;
on PyTorch it gives arrays where `fit` gives tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def batches_as_in_fit(model: Any) -> Iterator[None]:
    """Leave the weights of rows out of batches without them, for steps of the user's own."""
    own = [
        name
        for name in ("train_step", "test_step")
        if getattr(type(model), name) is not getattr(keras.Model, name)
    ]
    for name in own:
        vars(model)[name] = _packing(getattr(model, name))
    try:
        yield
    finally:
        for name in own:
            vars(model).pop(name)


def _packing(step: Callable[..., Any]) -> Callable[..., Any]:
    def packed(*args: Any) -> Any:
        *state, data = args
        if isinstance(data, tuple):
            data = keras.utils.pack_x_y_sample_weight(*data)
        data = keras.tree.map_structure(keras.ops.convert_to_tensor, data)
        return step(*state, data)

    return packed
