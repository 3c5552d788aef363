"""Training of Keras models: the same as Keras does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import (
    CLASSES,
    Plain,
    X,
    built,
    checked,
    fit,
    layers,
    sequential,
)

from fusion_nb import federate
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import OptionError
from fusion_nb.models.keras import inputs, optimizers
from fusion_nb.models.keras.adapter import KerasModel, keras


class TestTraining:
    def test_one_party_trains_as_keras_would(self) -> None:
        theirs = sequential(layers.Dense(3))
        model = checked(theirs)
        fit(model, (X, CLASSES), epochs=3, batch_size=40, lr=0.05, optimizer="sgd:momentum=0.9")
        theirs.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        theirs.fit(X, CLASSES, epochs=3, batch_size=40, verbose=0)
        assert all(
            np.allclose(mine, wanted, atol=1e-6)
            for mine, wanted in zip(model.model.get_weights(), theirs.get_weights(), strict=True)
        )

    @pytest.mark.parametrize(
        "optimizer",
        [
            "adam",
            "sgd:momentum=0.9,nesterov=true",
            *(
                pytest.param(name, marks=pytest.mark.slow)
                for name in ("Adadelta", "keras.optimizers.RMSprop")
            ),
        ],
    )
    def test_optimizer_and_rate_reach_training(self, optimizer: str) -> None:
        model = checked(sequential(layers.Dense(3)))
        start = model.get_weights()

        def moved(**options: Any) -> float:
            model.set_weights(start)
            fit(model, (X, CLASSES), **options)
            return float(
                sum(np.abs(model.get_weights()[name] - start[name]).sum() for name in start)
            )

        assert moved(optimizer=optimizer, lr=0.1) > 5 * moved(optimizer=optimizer, lr=0.001) > 0
        assert moved(optimizer=optimizer, lr=0.1) != moved(optimizer="sgd", lr=0.1)

    def test_an_optimizer_object_with_a_schedule_is_used(self) -> None:
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.1))
        assert optimizers.own_lr(optimizer) is None
        run = federate(
            sequential(layers.Dense(3)), (X, CLASSES), parties=2, rounds=2, optimizer=optimizer
        )
        assert run.status == "finished"
        assert run.result().chosen["lr"] is None

    def test_each_round_has_a_fresh_optimizer_unless_it_is_kept(self) -> None:
        def loss(**options: Any) -> float:
            model = sequential(layers.Dense(3))
            options = {
                "rounds": 1,
                "epochs": 1,
                "batch_size": 32,
                "parties": 1,
                "optimizer": "adam",
            } | options
            return federate(model, (X, CLASSES), lr=0.01, **options).history["loss"][-1]

        whole = loss(epochs=4)
        assert loss(rounds=4, keep_optimizer=True) == pytest.approx(whole, abs=1e-6)
        assert abs(loss(rounds=4) - whole) > 1e-4

    def test_a_seed_fixes_the_curve(self) -> None:
        def curve(seed: int) -> list[float]:
            model = sequential(layers.Dropout(0.5), layers.Dense(3))
            np.random.random(seed)  # what else draws is of no matter
            keras.random.uniform((3,))
            return federate(model, (X, CLASSES), parties=3, rounds=3, lr=0.1, seed=seed).history[
                "train_loss"
            ]

        assert curve(1) == curve(1) != curve(2)

    @pytest.mark.slow
    def test_batch_normalization_over_uneven_parties_is_sane(self) -> None:
        def model() -> Any:
            keras.utils.set_random_seed(0)
            return keras.Sequential(
                [
                    *(
                        layers.Input((28, 28, 1)),
                        layers.Conv2D(8, 3, strides=2),
                        layers.BatchNormalization(),
                    ),
                    *(layers.ReLU(), layers.Flatten(), layers.Dense(10)),
                ]
            )

        run = federate(
            model(), "digits", parties=5, split="dirichlet:alpha=0.5", rounds=6, lr=0.05, epochs=2
        )
        assert run.history["accuracy"][-1] > 0.8

    def test_rows_of_a_dataset_are_read_one_by_one(self) -> None:
        class Rows:
            def __len__(self) -> int:
                return 40

            def __getitem__(self, i: int) -> Any:
                return X[i], CLASSES[i]

        lazy = federate(sequential(layers.Dense(3)), Rows(), parties=2, rounds=2, lr=0.1)
        eager = federate(sequential(layers.Dense(3)), (X, CLASSES), parties=2, rounds=2, lr=0.1)
        assert lazy.history["loss"] == eager.history["loss"]

    @pytest.mark.parametrize("rescales", ["by a layer", "by arithmetic", ""])
    def test_bytes_are_scaled_once(self, rescales: str) -> None:
        images = np.random.default_rng(0).integers(0, 256, (40, 2, 2), dtype=np.uint8)
        given = layers.Input((2, 2))
        scaled = {
            "by a layer": layers.Rescaling(1 / 255),
            "by arithmetic": lambda x: x / 255.0,
        }.get(rescales, lambda x: x)
        model = keras.Model(given, layers.Dense(3)(layers.Flatten()(scaled(given))))
        adapter = KerasModel(model)
        schema = DataSchema.of((images, CLASSES))
        notes = adapter.check((images, CLASSES), schema, lr=0.1, optimizer="sgd")
        assert any("scaled" in note for note in notes) != bool(rescales)
        taken = inputs.Inputs.of(adapter.model, schema)
        x, _, _ = next(taken.batches((images, CLASSES), [np.arange(40)]))
        assert x.max() == pytest.approx(images.max() / (1 if rescales else 255))

    @pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.slow)])
    def test_frozen_layers_stay_frozen(self, frozen: bool) -> None:
        base_model = keras.Sequential([layers.Input((4,)), layers.Dense(6, name="base")])
        model = keras.Sequential([layers.Input((4,)), base_model, layers.Dense(3)])
        base_model.trainable = not frozen
        subclass = built(Plain())
        subclass.normal.trainable = not frozen
        for theirs in (model, subclass):
            run = federate(theirs, (X, CLASSES), parties=2, rounds=2, lr=0.1)
            assert len(run.model.trainable_variables) == len(theirs.trainable_variables)
            changed = [
                not np.array_equal(a, b)
                for a, b in zip(run.model.get_weights(), theirs.get_weights(), strict=True)
            ]
            assert changed[0] != frozen
            assert changed[-1]

    def test_an_adapted_normalization_goes_on_normalizing(self) -> None:
        x = X * 3 + 50
        model = keras.Sequential([layers.Input((4,)), layers.Normalization(), layers.Dense(3)])
        model.layers[0].adapt(x)
        run = federate(model, ((x, CLASSES), (x, CLASSES)), parties=2, rounds=3, lr=0.1)
        normal = run.model.layers[0]
        assert np.allclose(keras.ops.convert_to_numpy(normal.mean).ravel(), x.mean(0), atol=1e-2)
        measured = run.model.evaluate(x, CLASSES, verbose=0, return_dict=True)
        assert measured["loss"] == pytest.approx(run.history["loss"][-1], abs=1e-5)
        assert run.history["loss"][-1] < 2

    def test_a_summed_loss_is_reported_as_a_mean(self) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
        mean = checked(sequential(layers.Dense(3))).evaluate((X, CLASSES))
        assert checked(sequential(layers.Dense(3)), loss=loss).evaluate(
            (X, CLASSES)
        ) == pytest.approx(mean, rel=1e-5)

    def test_training_and_the_users_random_numbers_are_independent(self) -> None:
        def curve(*draws: Any) -> list[float]:
            run = federate(
                sequential(layers.Dropout(0.5), layers.Dense(3)),
                (X, CLASSES),
                parties=2,
                rounds=2,
                lr=0.1,
            )
            for draw in draws:
                draw((3,))
            return run.more(2).wait().history["train_loss"]

        ours = keras.random.uniform
        assert curve() == curve(ours, np.random.random_sample)

        def drawn(between: Any) -> Any:
            np.random.seed(0)
            between()
            return np.random.random_sample(3).tolist()

        model = sequential(layers.Dropout(0.5), layers.Dense(3))
        assert drawn(lambda: None) == drawn(
            lambda: federate(model, (X, CLASSES), parties=2, rounds=1)
        )

    def test_wrapped_optimizers_and_schedules_without_a_configuration(self) -> None:
        class Falling(keras.optimizers.schedules.LearningRateSchedule):
            def __call__(self, step: Any) -> Any:
                return 0.1

        wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.02))
        assert optimizers.own_lr(wrapped) == pytest.approx(0.02)
        assert isinstance(optimizers.make(wrapped, None), keras.optimizers.Adam)
        with pytest.raises(OptionError, match="must override"):
            optimizers.make(keras.optimizers.SGD(Falling()), None)
