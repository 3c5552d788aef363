"""Losses and layers that use the notebook's own model, where parties train copies of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import CLASSES, X, checked, layers, sequential

from fusion_nb.errors import ModelError
from fusion_nb.models.keras.adapter import keras


def cross_entropy(y: Any, out: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(y, out, from_logits=True)


def penalty(model: Any) -> Any:
    return sum(keras.ops.sum(weight * weight) for weight in model.trainable_variables)


class Penalised(keras.losses.Loss):
    """A loss that keeps the notebook's model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return cross_entropy(y_true, y_pred) + penalty(self.model)


class Tied(layers.Layer):
    """A layer that reads the weights of a model of the notebook by a global name."""

    def call(self, x: Any) -> Any:
        return x + keras.ops.sum(NOTEBOOK["model"].layers[0].kernel)


NOTEBOOK: dict[str, Any] = {}


def unchanged(theirs: Any, before: list[np.ndarray]) -> bool:
    has_gradient = any(getattr(v.value, "grad", None) is not None for v in theirs.variables)
    same = all(np.array_equal(a, b) for a, b in zip(before, theirs.get_weights(), strict=True))
    return same and not has_gradient


@pytest.mark.parametrize("how", ["a function", "an object", "compiled"])
def test_a_penalty_on_the_notebooks_model_is_refused(how: str) -> None:
    theirs = sequential(layers.Dense(3, name="last"))
    before = theirs.get_weights()
    loss: Any = Penalised(theirs)
    if how != "an object":
        loss = lambda y, out: cross_entropy(y, out) + penalty(theirs)  # noqa: E731
    if how == "compiled":
        theirs.compile("sgd", loss)
    with pytest.raises(ModelError, match="notebook's own model is used by the loss") as caught:
        checked(theirs, **({} if how == "compiled" else {"loss": loss}))
    assert "kernel_regularizer" in caught.value.hint
    assert unchanged(theirs, before)


def test_a_layer_that_reads_the_notebooks_model_is_refused() -> None:
    NOTEBOOK["model"] = sequential()  # until the layer's first call, which finds its shape
    theirs = NOTEBOOK["model"] = sequential(Tied(), layers.Dense(3))
    with pytest.raises(ModelError, match="this part would train nothing"):
        checked(theirs)


def test_a_penalty_in_the_model_itself_is_trained() -> None:
    def norm(**options: Any) -> float:
        last = layers.Dense(3, name="last", **options)
        model = checked(keras.Sequential([layers.Input((4,)), last]))
        return float(model.evaluate((X, CLASSES))["loss"])

    keras.utils.set_random_seed(0)
    plain = norm()
    keras.utils.set_random_seed(0)
    assert norm(kernel_regularizer=keras.regularizers.L2(10.0)) > plain + 1


def test_a_frozen_teacher_in_the_loss_is_allowed() -> None:
    teacher = sequential(layers.Dense(3))
    teacher.trainable = False
    inputs = keras.ops.convert_to_tensor(X[:1])

    def taught(y: Any, out: Any) -> Any:
        return cross_entropy(y, out) + 0.0 * keras.ops.sum(teacher(inputs))

    assert "loss" in checked(sequential(layers.Dense(3)), loss=taught).metrics
