"""The weights of Keras models as named arrays, and copies of models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import (
    CLASSES,
    Plain,
    Sized,
    X,
    built,
    checked,
    layers,
    linear,
    sequential,
)

from fusion_nb import RunSpec, federate
from fusion_nb.models.keras.adapter import keras
from fusion_nb.runs.build import build


class TestWeights:
    def test_weights_are_named_by_path_without_the_models_name(self) -> None:
        model = checked(
            keras.Sequential([layers.Input((4,)), layers.Dense(3, name="out")], name="anything_17")
        )
        assert list(model.get_weights()) == ["out/kernel", "out/bias"]

    def test_weights_hold_statistics_and_no_random_states_or_metrics(self) -> None:
        model = checked(
            sequential(layers.BatchNormalization(name="norm"), layers.Dropout(0.5), layers.Dense(3))
        )
        names = set(model.get_weights())
        assert {"norm/moving_mean", "norm/moving_variance"} < names
        assert not [name for name in names if "seed" in name or "accuracy" in name]

    def test_the_users_own_model_is_never_touched(self) -> None:
        theirs = sequential(layers.Dropout(0.5), layers.Dense(3))
        theirs.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        before = [w.copy() for w in theirs.get_weights()]
        run = federate(theirs, (X, CLASSES), parties=2, rounds=2, lr=0.5)
        assert all(np.array_equal(a, b) for a, b in zip(before, theirs.get_weights(), strict=True))
        mine = run.model
        mine.set_weights([w + 1 for w in mine.get_weights()])
        assert np.isfinite(run.more(1).wait().history["loss"][-1])

    def test_a_lambda_of_the_users_is_copied(self) -> None:
        model = sequential(layers.Lambda(lambda x: x * 2), layers.Dense(3))
        assert federate(model, (X, CLASSES), parties=2, rounds=1).status == "finished"

    @pytest.mark.parametrize("make", [lambda: built(Plain()), lambda: built(Sized(6))])
    def test_subclasses_are_federated_once_built(self, make: Any) -> None:
        model = make()
        run = federate(model, (X, CLASSES), parties=2, rounds=2, lr=0.1)
        assert type(run.model) is type(model)
        assert run.status == "finished"

    def test_a_sequential_model_is_built_from_the_rows(self) -> None:
        def first(seed: int) -> Any:
            model = keras.Sequential([layers.Dense(8), layers.Dense(3)])
            return build(
                RunSpec(data="data", seed=seed), {"model": model, "data": (X, CLASSES)}
            ).network.initial_weights

        a, b, c = first(0), first(0), first(1)
        kernel = next(name for name in a if name.endswith("kernel"))
        assert a[kernel].shape == (4, 8)
        assert [array.tobytes() for array in a.values()] == [
            array.tobytes() for array in b.values()
        ]
        assert [array.tobytes() for array in a.values()] != [
            array.tobytes() for array in c.values()
        ]


def test_batch_norm_names_are_found_in_inner_models_too() -> None:
    inner = keras.Sequential(
        [layers.Input((8,)), layers.BatchNormalization(name="deep")], name="inner"
    )
    model = checked(sequential(layers.BatchNormalization(name="norm"), inner, layers.Dense(3)))
    kinds = ("gamma", "beta", "moving_mean", "moving_variance")
    found = model.batch_norm_names()
    assert {name.rpartition("/")[2] for name in found} == {*kinds}
    assert len(found) == 8
    assert found < set(model.get_weights())
    assert not checked(linear()).batch_norm_names()
