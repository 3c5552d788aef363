"""Small Keras models and rows, on any backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import TrainingResult
from fusion_nb.models.keras.adapter import KerasModel, keras

layers = keras.layers


on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="about TensorFlow's graphs"
)


X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


CLASSES = np.arange(40) % 3


def sequential(*more: Any, inputs: int = 4) -> Any:
    """Return a small network whose first weights are always the same."""
    model = keras.Sequential([layers.Input((inputs,)), layers.Dense(8, activation="relu"), *more])
    rng = np.random.default_rng(0)
    model.set_weights(
        [rng.normal(size=w.shape) / 2 if w.ndim > 1 else w for w in model.get_weights()]
    )
    return model


def checked(model: Any, y: np.ndarray = CLASSES, x: np.ndarray = X, **options: Any) -> KerasModel:
    adapter = KerasModel(model, **options)
    optimizer = adapter.defaults["optimizer"]
    adapter.check(
        (x, y), DataSchema.of((x, y)), lr=adapter.default_lr(optimizer), optimizer=optimizer
    )
    return adapter


def fit(model: KerasModel, rows: Any, **options: Any) -> TrainingResult:
    defaults: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.1,
        "optimizer": "sgd",
        "seed": 1,
    }
    return model.fit(rows, **defaults | options)


class Forgetful(keras.Model):
    """A subclass that can't be made again, as it does not keep its constructor's argument."""

    def __init__(self, outputs_wanted: int) -> None:
        super().__init__()
        self.last = layers.Dense(outputs_wanted)

    def call(self, x: Any) -> Any:
        return self.last(x)


class Holder(keras.Model):
    """A subclass that takes a layer: a copy would share it."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def call(self, x: Any) -> Any:
        return self.body(x)


class Plain(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.normal = layers.BatchNormalization()
        self.drop = layers.Dropout(0.5)
        self.last = layers.Dense(3)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.last(self.drop(self.normal(x, training=training), training=training))


class Stepping(keras.Model):
    """A subclass with its own train_step, which hands the optimizer only its gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.last = layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.last(x)

    def train_step(self, data: Any) -> Any:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        if keras.backend.backend() == "torch":
            self.zero_grad()
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            loss.backward()
            gradients = [variable.value.grad for variable in self.trainable_variables]
        else:
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients)
        return {"loss": loss}


class Aloof(Stepping):
    """A subclass that trains without the optimizer that it was compiled with."""

    def train_step(self, data: Any) -> Any:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.last.bias.assign(keras.ops.multiply(self.last.bias, 0.9))
        return {"loss": self.compute_loss(x=x, y=y, y_pred=self(x, training=True))}


class Sized(keras.Model):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.hidden, self.last = layers.Dense(size), layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.last(self.hidden(x))


def built(model: Any) -> Any:
    model(X[:1])
    return model


def linear() -> Any:
    """Return a model whose gradients can be written down."""
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="out")])
    model.set_weights([np.linspace(-1, 1, 12).reshape(4, 3), np.array([0.1, 0.0, -0.1])])
    return model


ANCHOR = {
    "out/kernel": np.full((4, 3), 0.5, np.float32),
    "out/bias": np.array([1, -1, 0], np.float32),
}


SHIFT = {
    "out/kernel": np.linspace(1, -1, 12, dtype=np.float32).reshape(4, 3),
    "out/bias": np.full(3, 0.2, np.float32),
}
