"""Trainings of a Keras model by a number of steps, and their effective step size."""

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

from fusion_nb import federate
from fusion_nb.models.keras import optimizers
from fusion_nb.models.keras.adapter import keras


class TestLocalSteps:
    def test_steps_is_the_number_of_batches(self) -> None:
        model, gates = checked(linear()), []
        model.gate = lambda: gates.append(1)
        for steps in (1, 3, 5, 7, 13):
            gates.clear()
            found = fit(model, (X, CLASSES), steps=steps, epochs=99)
            assert found.num_steps == len(gates) == steps
            assert found.effective_step_size == pytest.approx(0.1 * steps)

    def test_as_many_steps_as_batches_train_like_an_epoch(self) -> None:
        def trained(**options: Any) -> Any:
            model = checked(sequential(layers.Dropout(0.3), layers.Dense(3)))
            found = fit(model, (X, CLASSES), **options)
            values = [array.tobytes() for array in found.weights.values()]
            return found.metrics, found.num_steps, values

        assert trained(steps=5) == trained(epochs=1)
        assert trained(steps=10) == trained(epochs=2)
        assert trained(steps=6) != trained(epochs=1)

    def test_rows_are_shuffled_for_each_pass(self) -> None:
        seen: list[np.ndarray] = []

        class Rows:
            def __len__(self) -> int:
                return 40

            def __getitem__(self, i: int) -> Any:
                seen.append(np.array(i))
                return X[i], CLASSES[i]

        fit(checked(linear()), Rows(), steps=7)
        first, second = seen[:40], seen[40:]
        assert sorted(map(int, first)) == list(range(40))
        assert len(second) == 16
        assert [int(i) for i in first[:16]] != [int(i) for i in second]

    def test_training_ends_with_the_pass_in_which_the_loss_diverges(self) -> None:
        rows = X.copy()
        rows[3] = np.nan
        found = fit(checked(linear()), (rows, CLASSES), steps=50)
        assert np.isnan(found.metrics["loss"])
        assert found.num_steps == 5

    def test_a_run_takes_local_steps(self) -> None:
        run = federate(linear(), (X, CLASSES), parties=2, rounds=2, lr=0.1, local_steps=3)
        assert run.status == "finished"

    @pytest.mark.parametrize(
        ("optimizer", "distance"),
        [
            ("sgd", 0.3),
            ("adam", 0.3),
            ("sgd:momentum=0.5", 0.1 * (1 + 1.5 + 1.75)),
            ("sgd:momentum=0.5,nesterov=true", 0.1 * (1.5 + 1.75 + 1.875)),
        ],
    )
    def test_effective_step_size_is_the_distance_of_a_gradient_of_one(
        self, optimizer: str, distance: float
    ) -> None:
        model = checked(linear())
        found = fit(model, (X, CLASSES), steps=3, optimizer=optimizer)
        assert found.effective_step_size == pytest.approx(distance, rel=1e-6)
        if optimizer.startswith("sgd"):
            own = optimizers.make(optimizer, 0.1)
            weight = keras.Variable(np.zeros(1, np.float32))
            for _ in range(3):
                own.apply([keras.ops.ones(1)], [weight])
            assert float(keras.ops.convert_to_numpy(weight)[0]) == pytest.approx(
                -distance, rel=1e-5
            )

    def test_effective_step_size_of_a_schedule_is_the_sum_of_its_rates(self) -> None:
        schedule = keras.optimizers.schedules.ExponentialDecay(0.4, 1, 0.5)
        model, state = checked(linear(), keep_optimizer=True), {}

        def distance(**options: Any) -> float:
            return float(fit(model, (X, CLASSES), steps=2, lr=None, **options).effective_step_size)

        optimizer = keras.optimizers.SGD(schedule)
        assert (
            distance(optimizer=optimizer)
            == distance(optimizer=optimizer)
            == pytest.approx(0.4 + 0.2)
        )
        assert distance(optimizer=optimizer, state=state) == pytest.approx(0.4 + 0.2)
        assert distance(optimizer=optimizer, state=state) == pytest.approx(0.1 + 0.05)

    def test_accumulated_batches_are_one_step(self) -> None:
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 3], [0.4, 0.2, 0.1])
        optimizer = keras.optimizers.SGD(schedule, gradient_accumulation_steps=2)
        found = fit(checked(linear()), (X, CLASSES), steps=5, lr=None, optimizer=optimizer)
        assert found.num_steps == 2
        assert found.effective_step_size == pytest.approx(0.4 + 0.2)
