"""Keras models and options that are refused before training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import (
    CLASSES,
    X,
    built,
    checked,
    fit,
    layers,
    sequential,
)

from fusion_nb import RunSpec, federate
from fusion_nb.errors import DataError, FusionError, ModelError, OptionError
from fusion_nb.models.keras.adapter import keras
from fusion_nb.runs.build import build


def two_inputs() -> Any:
    both = [layers.Input((4,)), layers.Input((4,))]
    return keras.Model(both, layers.Dense(3)(layers.Add()(both)))


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: two_inputs(), "does not take rows of shape"),
            (
                lambda: keras.Sequential([layers.Input((4,), batch_size=40), layers.Dense(3)]),
                "takes batches of 40 rows only",
            ),
            (
                lambda: keras.Sequential([layers.Input((4,)), layers.Dense(3, trainable=False)]),
                "no weight that",
            ),
            (lambda: sequential(layers.Dense(2)), "2 outputs, but labels run from 0 to 2"),
            (lambda: sequential(layers.Dense(3), inputs=9), "the model takes"),
        ],
    )
    def test_a_model_that_cannot_be_federated_is_refused(self, make: Any, message: str) -> None:
        with pytest.raises(FusionError, match=message) as caught:
            checked(make())
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("last", "y", "loss", "message"),
        [
            (
                layers.Dense(1, activation="sigmoid"),
                CLASSES,
                "binary_crossentropy",
                "they run from 0 to 2",
            ),
            (layers.Dense(1, activation="softmax"), CLASSES % 2, "", "always 1"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:You are using a softmax")
    def test_a_loss_that_would_train_nothing_is_refused(
        self, last: Any, y: np.ndarray, loss: str, message: str
    ) -> None:
        with pytest.raises(ModelError, match=message):
            checked(sequential(last), y, loss=loss)

    def test_a_number_beyond_the_embedding_is_refused(self) -> None:
        model = keras.Sequential(
            [layers.Input((5,)), layers.Embedding(10, 4), layers.Flatten(), layers.Dense(3)]
        )
        x = np.random.default_rng(0).integers(0, 10, (40, 5))
        x[-1, 0] = 17
        with pytest.raises(
            DataError, match="numbers from 0 to 17, and the model's Embedding knows 0 to 9"
        ):
            federate(model, (x, CLASSES), parties=1, rounds=1)

    def test_a_layer_of_the_users_is_not_blamed_on_the_loss(self) -> None:
        class Broken(layers.Layer):
            def call(self, x: Any, training: bool = False) -> Any:
                if training:
                    raise ValueError("mine")
                return x

        with pytest.raises(ModelError, match="mine"):
            checked(keras.Sequential([layers.Input((4,)), Broken(), layers.Dense(3)]))

    def test_two_weights_of_one_name_are_refused(self) -> None:
        class Twins(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = layers.Dense(3, name="twin"), layers.Dense(3, name="twin")

            def call(self, x: Any) -> Any:
                return self.a(x) + self.b(x)

        with pytest.raises(ModelError, match="not named uniquely: twin/bias, twin/kernel"):
            checked(built(Twins()))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"optimizer": "rprop"}, "Keras has no optimizer 'rprop'"),
            ({"optimizer": "adamm"}, "did you mean 'adam'"),
            ({"optimizer": "adam:betas=1"}, "has no option 'betas'"),
            ({"loss": "cross_entropy"}, "no loss is called 'cross_entropy'"),
            ({"loss": "mse", "data": (X, CLASSES)}, "wants as many outputs"),
            ({"device": "cuda"}, "a Keras model has no such option"),
        ],
    )
    def test_a_wrong_option_is_refused(self, options: Any, message: str) -> None:
        namespace = {
            "model": sequential(layers.Dense(3)),
            "rows": options.pop("data", (X, CLASSES)),
        }
        with pytest.raises(FusionError) as caught:
            build(RunSpec(data="rows", **options), namespace)
        assert message in str(caught.value)

    def test_an_unsupported_client_option_is_refused(self) -> None:
        with pytest.raises(OptionError, match="mix"):
            fit(checked(sequential(layers.Dense(3))), (X, CLASSES), mix={})
