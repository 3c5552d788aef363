"""The learning rate of rounds in Keras: one compiled model takes another rate in each round."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import fusion_nb
from fusion_nb.errors import OptionError

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def network() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])


def trained(model: Any, **options: Any) -> Any:
    return fusion_nb.federate(model, (X, Y), parties=2, rounds=3, **options)


@pytest.mark.parametrize("keep", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training_uses_the_rate_of_the_round(keep: bool) -> None:
    options = {"lr": 0.1, "keep_optimizer": keep, "optimizer": "sgd:momentum=0.5"}
    falling = trained(network(), lr_schedule=lambda n: 1.0 if n == 1 else 1e-12, **options)
    losses = falling.history["loss"]
    if not keep:  # momentum that is kept goes on moving
        assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)
    changed = trained(network(), changes="2:lr=1e-13", **options)
    assert losses == changed.history["loss"]
    assert losses != trained(network(), **options).history["loss"]


def test_a_compiled_rate_is_left_to_the_optimizer() -> None:
    model = network()
    model.compile(
        optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    with pytest.raises(OptionError, match="own optimizer decides"):
        trained(model, lr_schedule="cosine")
