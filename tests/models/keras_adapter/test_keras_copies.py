"""Copies of Keras models of any kind: equal, independent, and made without a constructor."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras_samples import CLASSES, Forgetful, Holder, Plain, Sized, X, built, layers, sequential

from fusion_nb import federate
from fusion_nb.models.keras import copies
from fusion_nb.models.keras.adapter import keras


def gated(x: Any) -> Any:
    return x * keras.ops.sigmoid(x)


class Affine(layers.Layer):
    """A layer without **kwargs, as the guide to subclassing begins."""

    def __init__(self, units: int = 16) -> None:
        super().__init__()
        self.units = units

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1], self.units))

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, self.w)


class Fixed(layers.Layer):
    """A layer without constructor arguments, whose get_config says something wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(6)

    def get_config(self) -> dict[str, Any]:
        return {"units": 5}

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Dropping(layers.Layer):
    """A layer whose get_config leaves out its rate: made again, it would have another one."""

    def __init__(self, rate: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate

    def call(self, x: Any, training: bool = False) -> Any:
        return x * self.rate if training else x

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config())


class Silent(layers.Layer):
    """A layer that was given a function and a layer, and has no get_config."""

    def __init__(self, function: Callable[[Any], Any], body: Any) -> None:
        super().__init__()
        self.function, self.body = function, body

    def call(self, x: Any) -> Any:
        return self.function(self.body(x))


@keras.saving.register_keras_serializable("copies")
class Registered(layers.Layer):
    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.inner = layers.Dense(size)

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Blocks(keras.Model):
    """A subclass that keeps layers in a list and a dict, and a lock and numbers beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [layers.Dense(4, activation=lambda x: x * 2) for _ in range(2)]
        self.named = {"last": layers.Dense(3)}
        self.lock = threading.Lock()
        self.history = [1.0, 2.0]

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.named["last"](x)


def closing() -> Any:
    """Return a model whose Lambda closes over one of its layers."""
    shared = layers.Dense(4, name="shared")
    given = layers.Input((4,))
    first = shared(given)
    again = layers.Lambda(lambda x: shared(x) + 1)(first)
    return keras.Model(given, layers.Dense(3)(again))


def graph() -> Any:
    given = layers.Input((4,))
    wide = layers.Dense(4, activation="relu")(given)
    return keras.Model(given, layers.Dense(3)(layers.Concatenate()([wide, keras.ops.sin(given)])))


MODELS: dict[str, Callable[[], Any]] = {
    "a function as activation": lambda: sequential(layers.Dense(5, activation=gated)),
    "a lambda as activation": lambda: sequential(layers.Dense(5, activation=lambda x: x - 1)),
    "a partial as activation": lambda: sequential(
        layers.Dense(5, activation=functools.partial(keras.ops.leaky_relu, negative_slope=0.3))
    ),
    "a layer without **kwargs": lambda: sequential(Affine(12), layers.Dense(3)),
    "a layer with a wrong get_config": lambda: sequential(Fixed(), layers.Dense(3)),
    "a layer that hides its rate": lambda: sequential(Dropping(0.7), layers.Dense(3)),
    "a layer without get_config": lambda: sequential(Silent(gated, layers.Dense(5))),
    "a registered layer": lambda: sequential(Registered(5)),
    "an own initializer": lambda: sequential(
        layers.Dense(5, kernel_initializer=lambda shape, dtype=None: keras.ops.ones(shape, dtype))
    ),
    "a regularizer of a function": lambda: sequential(
        layers.Dense(5, kernel_regularizer=lambda w: keras.ops.sum(w * w))
    ),
    "a closure over a layer": closing,
    "a functional graph": graph,
    "a model in a model": lambda: sequential(keras.Sequential([layers.Input((8,)), Affine(4)])),
    "a subclass with lists": lambda: built(Blocks()),
    "a subclass that was given a layer": lambda: built(Holder(layers.Dense(3))),
    "a subclass that forgets": lambda: built(Forgetful(3)),
    "a subclass with statistics": lambda: built(Plain()),
    "recurrent cells": lambda: keras.Sequential(
        [layers.Input((4, 1)), layers.RNN([layers.GRUCell(3), layers.LSTMCell(3)])]
    ),
}


def outputs(model: Any, *, training: bool = False) -> np.ndarray:
    rows = X[:5, :, None] if model.name.startswith("cells") else X[:5]
    return np.asarray(keras.ops.convert_to_numpy(model(rows, training=training)))


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_is_equal_and_independent(name: str) -> None:
    theirs = MODELS[name]()
    if name == "recurrent cells":
        theirs.name = "cells"
    copy = copies.copy_of(theirs)
    assert [v.path for v in copy.variables] == [v.path for v in theirs.variables]
    expected = outputs(theirs)
    assert np.array_equal(outputs(copy), expected)
    copy.set_weights([w + 0.5 for w in copy.get_weights()])
    assert np.array_equal(outputs(theirs), expected)
    assert not np.array_equal(outputs(copy), expected)


def test_a_setting_that_get_config_leaves_out_is_kept() -> None:
    theirs = sequential(Dropping(0.7), layers.Dense(3))
    copy = copies.copy_of(theirs)
    assert np.array_equal(outputs(copy, training=True), outputs(theirs, training=True))


def test_frozen_layers_and_precision_are_kept() -> None:
    theirs = sequential(layers.Dense(5, dtype="mixed_float16"), Affine(3))
    theirs.layers[0].trainable = False
    copy = copies.copy_of(theirs)
    assert len(copy.trainable_variables) == len(theirs.trainable_variables) == 3
    assert copy.layers[1].compute_dtype == "float16"


def test_a_copy_of_a_trained_model_has_no_optimizer() -> None:
    theirs = sequential(Affine(3))
    theirs.compile("adam", "mse", metrics=["mae"])
    theirs.train_on_batch(X[:4], X[:4, :3])
    copy = copies.copy_of(theirs)
    assert not copy.compiled
    assert copy.optimizer is None
    assert theirs.compiled
    theirs.train_on_batch(X[:4], X[:4, :3])


def test_layers_of_ones_own_are_trained_and_leave() -> None:
    theirs = keras.Sequential(
        [layers.Input((4,)), Affine(6), layers.Dense(5, activation=gated), layers.Dense(3)]
    )
    before = [w.copy() for w in theirs.get_weights()]
    run = federate(theirs, (X, CLASSES), parties=2, rounds=2, lr=0.5)
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert all(np.array_equal(a, b) for a, b in zip(before, theirs.get_weights(), strict=True))
    assert isinstance(run.model.layers[0], Affine)


class TestUnbuilt:
    @pytest.mark.parametrize(
        "make", [lambda: Plain(), lambda: Sized(6), lambda: Blocks(), lambda: Holder(sequential())]
    )
    def test_a_subclass_is_built_on_the_rows(self, make: Any) -> None:
        theirs = make()
        run = federate(theirs, (X, CLASSES), parties=2, rounds=1)
        assert run.status == "finished"
        assert not theirs.built  # the user's object never changes

    @pytest.mark.filterwarnings("ignore:`build..` was called")
    def test_build_with_a_shape_makes_no_weights_and_is_enough(self) -> None:
        theirs = Sized(6)
        theirs.build((None, 4))
        run = federate(theirs, (X, CLASSES), parties=2, rounds=1)
        assert [w.shape for w in run.model.get_weights()] == [(4, 6), (6,), (6, 3), (3,)]

    def test_a_sequential_of_own_layers_is_built_on_the_rows(self) -> None:
        theirs = keras.Sequential([Affine(6), layers.Dense(3, activation=lambda x: x)])
        assert federate(theirs, (X, CLASSES), parties=2, rounds=1).status == "finished"
