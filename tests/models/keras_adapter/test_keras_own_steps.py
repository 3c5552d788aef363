"""Models with a compile(), metrics or a train_step of their own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import fusion_nb
from fusion_nb.errors import ModelError

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


class Encoder(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.tracker = keras.layers.Dense(4), keras.metrics.Mean(name="loss")

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Tracked(Encoder):
    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]


class Measuring(Tracked):
    def test_step(self, data: Any) -> Any:
        x, y = data
        self.tracker.update_state(keras.ops.stop_gradient(keras.ops.mean((self(x) - y) ** 2)))
        return {"loss": self.tracker.result()}


class Silent(Tracked):
    def test_step(self, data: Any) -> Any:
        return {}


class Gan(Encoder):
    def compile(self, g_optimizer: Any, d_optimizer: Any) -> None:
        super().compile()


class Named(Encoder):
    def compile(self, optimizer: Any, weight: float) -> None:
        super().compile(optimizer)


def built(kind: type[keras.Model]) -> keras.Model:
    model = kind()
    model(X)
    return model


def trained(model: keras.Model) -> Any:
    return fusion_nb.federate(model, (X, X), loss="mse", lr=0.01, rounds=1, parties=2)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (Tracked, "Tracked has metrics of its own"),
        (Silent, "own test_step returns no 'loss'"),
        (Gan, r"compile\(\) of Gan is its own"),
        (Named, r"compile\(\) of Named is its own"),
    ],
)
def test_what_evaluation_or_training_can_not_use_is_refused(
    kind: type[keras.Model], line: str
) -> None:
    with pytest.raises(ModelError, match=line):
        trained(built(kind))


def test_a_test_step_of_its_own_measures_what_it_returns() -> None:
    run = trained(built(Measuring))
    assert set(run.history.last()) >= {"loss"}
    assert "mae" not in run.history.last()
    measured = float(np.mean((keras.ops.convert_to_numpy(run.model(X)) - X) ** 2))
    assert run.history.last()["loss"] == pytest.approx(measured, rel=0.5)


class Unpacking(Measuring):
    def train_step(self, data: Any) -> Any:
        # Keras's guide unpacks two, since `fit` gives no weights where there are none.
        x, y = data
        self.tracker.update_state(keras.ops.stop_gradient(keras.ops.mean((self(x) - y) ** 2)))
        return {"loss": self.tracker.result()}


class Weighted(Measuring):
    def train_step(self, data: Any) -> Any:
        x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
        assert weight is None
        self.tracker.update_state(keras.ops.stop_gradient(keras.ops.mean(self(x) ** 2)))
        return {"loss": self.tracker.result()}


@pytest.mark.parametrize("kind", [Unpacking, Weighted])
def test_batches_come_as_fit_gives_them(kind: type[keras.Model]) -> None:
    model = built(kind)
    run = trained(model)
    assert np.isfinite(run.history.last()["loss"])
    assert not {"train_step", "test_step"} & {*vars(model), *vars(run.model)}


class Failing(Measuring):
    def train_step(self, data: Any) -> Any:
        raise RuntimeError("no such sensor")


def test_a_step_that_fails_is_not_taken_for_the_loss() -> None:
    with pytest.raises(
        ModelError, match=r"own train_step.* fails: RuntimeError: no such"
    ) as caught:
        trained(built(Failing))
    assert isinstance(caught.value.__cause__, RuntimeError)
