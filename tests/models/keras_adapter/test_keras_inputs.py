"""Rows in the shape of a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import (
    checked,
    layers,
    sequential,
)

from fusion_nb.errors import DataError
from fusion_nb.models.keras import inputs


class TestInputs:
    @pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (1, 28, 28)])
    @pytest.mark.parametrize(
        "wanted", [(28, 28), (28, 28, 1), (1, 28, 28), (784,), (None, None, 1)]
    )
    def test_images_are_reshaped_for_the_model(self, shape: Any, wanted: Any) -> None:
        pixels = np.arange(2 * 784).reshape(2, 784)
        found = inputs.bring(pixels.reshape(2, *shape), wanted)
        assert inputs.fits(found.shape[1:], wanted)
        assert np.array_equal(found.reshape(2, 784), pixels)

    def test_channels_are_moved_with_their_values(self) -> None:
        x = np.random.default_rng(0).random((2, 3, 32, 32))
        assert np.array_equal(inputs.bring(x, (32, 32, 3))[1, 5, 7], x[1, :, 5, 7])
        assert np.array_equal(inputs.bring(np.moveaxis(x, 1, -1), (3, 32, 32)), x)

    def test_a_mismatch_names_both_shapes(self) -> None:
        with pytest.raises(DataError, match=r"rows have shape \(4,\) and the model takes \(7,\)"):
            checked(sequential(layers.Dense(3), inputs=7))
