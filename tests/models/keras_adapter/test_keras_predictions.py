"""The predictions of Keras models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import (
    CLASSES,
    X,
    checked,
    fit,
    layers,
    linear,
    sequential,
)

from fusion_nb.models.keras.adapter import keras


class TestPredictions:
    @pytest.mark.parametrize("kind", ["array", "pair", "dataset"])
    def test_predictions_equal_those_of_keras(self, kind: str) -> None:
        x = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
        y = np.arange(300) % 3

        class Rows:
            def __len__(self) -> int:
                return 300

            def __getitem__(self, i: int) -> Any:
                return x[i], y[i]

        model, gates = (
            checked(sequential(layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(3))),
            [],
        )
        fit(model, (X, CLASSES))
        model.gate = lambda: gates.append(1)
        found = model.predict({"array": x, "pair": (x, y), "dataset": Rows()}[kind])
        assert found.dtype == np.float32
        logits = model.native(model.get_weights()).predict(x, verbose=0)
        assert found == pytest.approx(np.array(keras.ops.softmax(logits)), abs=1e-5)
        assert len(gates) == 3

    def test_rows_are_reshaped_and_scaled_for_predictions(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (40, 1, 2, 2), dtype=np.uint8)
        model = checked(linear(), x=images)
        logits = model.native(model.get_weights()).predict(
            images.reshape(40, 4) / np.float32(255), verbose=0
        )
        assert model.predict(images) == pytest.approx(np.array(keras.ops.softmax(logits)), abs=1e-5)

    def test_predictions_in_half_precision_become_single(self) -> None:
        model = keras.Sequential([layers.Input((4,)), layers.Dense(3, dtype="bfloat16")])
        assert checked(model).predict(X).dtype == np.float32

    def test_predictions_keep_the_places_of_a_row(self) -> None:
        model = keras.Sequential([layers.Input((4,)), layers.Reshape((4, 1)), layers.Dense(3)])
        y = np.arange(160).reshape(40, 4) % 3
        assert checked(model, y).predict(X).shape == (40, 4, 3)
