"""The Keras adapter, on TensorFlow; `KERAS_BACKEND=torch pytest tests/test_keras.py` is the same on
another backend."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fusion_nb import RunSpec, federate
from fusion_nb.core import rows as rows_of
from fusion_nb.data.image_datasets import Cifar10Keras, MnistKeras
from fusion_nb.errors import DataError, FusionError, ModelError, OptionError
from fusion_nb.models import base
from fusion_nb.models.keras import files, inputs, losses, optimizers
from fusion_nb.models.keras.adapter import KerasModel, keras
from fusion_nb.runs.build import build

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
    adapter.check((x, y), rows_of.decode(y), lr=adapter.default_lr(optimizer), optimizer=optimizer)
    return adapter


def fit(model: KerasModel, rows: Any, **options: Any) -> Any:
    orders: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.1,
        "optimizer": "sgd",
        "seed": 1,
    }
    return model.fit(rows, **orders | options)


class Forgetful(keras.Model):
    """A subclass that neither Keras nor anybody can make again: it keeps nothing of what it was
    made with."""

    def __init__(self, outputs_wanted: int) -> None:
        super().__init__()
        self.last = layers.Dense(outputs_wanted)

    def call(self, x: Any) -> Any:
        return self.last(x)


class Holder(keras.Model):
    """A subclass that is given a layer: made again, it would hold the same one."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def call(self, x: Any) -> Any:
        return self.body(x)


class Plain(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.normal, self.drop, self.last = (
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3),
        )

    def call(self, x: Any, training: bool = False) -> Any:
        return self.last(self.drop(self.normal(x, training=training), training=training))


class Stepping(keras.Model):
    """A subclass that trains by a step of its own, which hands the optimizer its gradients
    alone."""

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


class TestInference:
    @pytest.mark.parametrize(
        ("last", "y", "name", "metrics"),
        [
            (
                layers.Dense(3),
                CLASSES,
                "sparse_categorical_crossentropy (the model ends in logits",
                "accuracy",
            ),
            (
                layers.Dense(3, activation="softmax"),
                CLASSES,
                "sparse_categorical_crossentropy (the model ends in soft",
                "",
            ),
            (
                layers.Dense(1),
                CLASSES % 2,
                "binary_crossentropy (one output and labels 0 and 1; the model ends in log",
                "",
            ),
            (
                layers.Dense(1, activation="sigmoid"),
                CLASSES % 2,
                "binary_crossentropy (one output and",
                "accuracy",
            ),
            (layers.Dense(1), X[:, 0], "mean_squared_error", "mae"),
            (layers.Dense(2), X[:, :2], "mean_squared_error", "mae"),
        ],
    )
    def test_the_loss_fits_output_and_labels(
        self, last: Any, y: np.ndarray, name: str, metrics: str
    ) -> None:
        model = KerasModel(sequential(last))
        notes = model.check((X, y), y, lr=0.1, optimizer="sgd")
        assert notes[0].startswith(f"loss: {name}")
        assert np.isfinite(fit(model, (X, y))["loss"])
        found = model.evaluate((X, y))
        assert set(found) == set(model.metrics)
        assert metrics in " ".join(model.metrics)

    @pytest.mark.parametrize("logits", [True, False])
    def test_binary_accuracy_counts_what_is_right(self, logits: bool) -> None:
        y = (X[:, 0] > 0).astype(np.int64)
        last = keras.Sequential(
            [layers.Input((4,)), layers.Dense(1, activation=None if logits else "sigmoid")]
        )
        last.set_weights([np.array([[5.0], [0], [0], [0]]), np.array([0.0])])
        assert checked(last, y).evaluate((X, y))["accuracy"] == 1

    @pytest.mark.parametrize(
        "loss",
        ["categorical_crossentropy", "CategoricalCrossentropy", "mse", "mean_absolute_error"],
    )
    def test_a_loss_can_be_named(self, loss: str) -> None:
        y = CLASSES if loss.lower().startswith("cat") else X[:, :3]
        model = checked(sequential(layers.Dense(3)), y, loss=loss)
        assert np.isfinite(model.evaluate((X, y))["loss"])

    def test_a_function_of_the_users_is_a_loss(self) -> None:
        model = checked(
            sequential(layers.Dense(1)),
            X[:, 0],
            loss=lambda y, out: keras.ops.mean((y - out) ** 4, axis=-1),
        )
        assert model.metrics == ("loss", "mse", "mae")
        y = X[:, :1]
        expected = np.mean(
            (y - keras.ops.convert_to_numpy(model.native(model.get_weights())(X))) ** 4
        )
        assert model.evaluate((X, X[:, 0]))["loss"] == pytest.approx(float(expected), rel=1e-5)

    def test_what_the_model_was_compiled_with_is_used(self) -> None:
        theirs = sequential(layers.Dense(3, activation="softmax"))
        theirs.compile(
            keras.optimizers.Adam(0.002), "categorical_crossentropy", metrics=["accuracy"]
        )
        run = federate(theirs, (X, np.eye(3)[CLASSES]), parties=2, rounds=1)
        assert any("adam, lr 0.002 (as the model was compiled)" in note for note in run.notes)
        assert any(
            note.startswith("loss: categorical_crossentropy (as the model was compiled")
            for note in run.notes
        )
        assert run.result().chosen == {
            "fusion": "fedavg",
            "lr": pytest.approx(0.002),
            "optimizer": "adam",
        }
        assert run.model.evaluate(X, np.eye(3)[CLASSES], verbose=0, return_dict=True).keys() == {
            "loss",
            "accuracy",
        }

    def test_a_compiled_loss_keeps_its_meaning(self) -> None:
        theirs = sequential(layers.Dense(1))
        theirs.compile("sgd", "binary_crossentropy")
        run = federate(theirs, ((X, CLASSES % 2), (X, CLASSES % 2)), parties=2, rounds=1)
        assert any("wants probabilities" in note for note in run.notes)
        assert run.model.evaluate(X, CLASSES % 2, verbose=0) == pytest.approx(
            run.history["loss"][-1], rel=1e-4
        )

    def test_what_was_compiled_before_is_forgotten(self) -> None:
        theirs = sequential(layers.Dense(3))
        theirs.compile("sgd", "mse")
        theirs.compile("adam")
        notes = KerasModel(theirs).check((X, CLASSES), CLASSES, lr=0.1, optimizer="sgd")
        assert notes[0].startswith(
            "loss: sparse_categorical_crossentropy (the model ends in logits"
        )

    def test_a_file_brings_what_it_was_compiled_with(self, tmp_path: Path) -> None:
        theirs = sequential(layers.Dense(3))
        theirs.compile(
            keras.optimizers.Adam(0.003),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        theirs.save(tmp_path / "mine.keras")
        run = federate(str(tmp_path / "mine.keras"), (X, CLASSES), parties=2, rounds=1)
        assert run.result().chosen["optimizer"] == "adam"
        assert run.result().chosen["lr"] == pytest.approx(0.003)

    @pytest.mark.filterwarnings("ignore:.*received `from_logits=True`")
    def test_probabilities_where_logits_are_wanted_are_told(self) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adapter = KerasModel(sequential(layers.Dense(3, activation="softmax")), loss=loss)
        notes = adapter.check((X, CLASSES), CLASSES, lr=0.1, optimizer="sgd")
        assert any("wants logits" in note for note in notes)


class TestWeights:
    def test_they_are_named_by_path_without_the_models_name(self) -> None:
        model = checked(
            keras.Sequential([layers.Input((4,)), layers.Dense(3, name="out")], name="anything_17")
        )
        assert list(model.get_weights()) == ["out/kernel", "out/bias"]

    def test_statistics_are_fused_and_random_states_and_metrics_are_not(self) -> None:
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
            ).initial

        a, b, c = first(0), first(0), first(1)
        kernel = next(name for name in a if name.endswith("kernel"))
        assert a[kernel].shape == (4, 8)
        assert [array.tobytes() for array in a.values()] == [
            array.tobytes() for array in b.values()
        ]
        assert [array.tobytes() for array in a.values()] != [
            array.tobytes() for array in c.values()
        ]


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
        ["adam", "Adadelta", "keras.optimizers.RMSprop", "sgd:momentum=0.9,nesterov=true"],
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

    def test_an_optimizer_can_be_an_object(self) -> None:
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
        images = np.random.default_rng(0).integers(0, 256, (40, 4), dtype=np.uint8)
        given = layers.Input((4,))
        scaled = {
            "by a layer": layers.Rescaling(1 / 255),
            "by arithmetic": lambda x: x / 255.0,
        }.get(rescales, lambda x: x)
        model = keras.Model(given, layers.Dense(3)(scaled(given)))
        adapter = KerasModel(model)
        notes = adapter.check((images, CLASSES), CLASSES, lr=0.1, optimizer="sgd")
        assert any("scaled" in note for note in notes) != bool(rescales)
        x, _ = next(adapter._batches((images, CLASSES), [np.arange(40)]))
        assert x.max() == pytest.approx(images.max() / (1 if rescales else 255))

    @pytest.mark.parametrize("frozen", [True, False])
    def test_what_is_frozen_stays_frozen(self, frozen: bool) -> None:
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

    def test_a_sum_over_the_batch_is_told_as_a_mean(self) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
        mean = checked(sequential(layers.Dense(3))).evaluate((X, CLASSES))
        assert checked(sequential(layers.Dense(3)), loss=loss).evaluate(
            (X, CLASSES)
        ) == pytest.approx(mean, rel=1e-5)

    def test_nobody_elses_numbers_matter_or_change(self) -> None:
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

    def test_mixed_precision_and_schedules_of_ones_own(self) -> None:
        class Falling(keras.optimizers.schedules.LearningRateSchedule):
            def __call__(self, step: Any) -> Any:
                return 0.1

        wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.02))
        assert optimizers.own_lr(wrapped) == pytest.approx(0.02)
        assert isinstance(optimizers.make(wrapped, None), keras.optimizers.Adam)
        with pytest.raises(OptionError, match="must override"):
            optimizers.make(keras.optimizers.SGD(Falling()), None)


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
#: What a fusion may ask for, and what that is when it is written down.
TERMS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"mu": 0.7}, {"mu": 0.7, "anchor": "start"}),
    ({"mu": 0.7, "anchor": ANCHOR}, {"mu": 0.7, "anchor": ANCHOR}),
    ({"shift": SHIFT}, {"shift": SHIFT}),
    ({"shift": {"out/bias": SHIFT["out/bias"]}}, {"shift": {"out/bias": SHIFT["out/bias"]}}),
    ({"mu": 0.7, "anchor": ANCHOR, "shift": SHIFT}, {"mu": 0.7, "anchor": ANCHOR, "shift": SHIFT}),
]


def gradients(
    weights: Any, start: Any, *, mu: float = 0.0, anchor: Any = None, shift: Any = None
) -> Any:
    """Return the gradients of a linear model's cross-entropy over all rows, with what a fusion
    adds, in float64."""
    output = X @ weights["out/kernel"] + weights["out/bias"]
    likely = np.exp(output - output.max(1, keepdims=True))
    error = (likely / likely.sum(1, keepdims=True) - np.eye(3)[CLASSES]) / len(X)
    found = {"out/kernel": X.T @ error, "out/bias": error.sum(0)}
    anchor = start if isinstance(anchor, str) else anchor or weights
    return {
        name: g + mu * (weights[name] - anchor[name]) + (shift or {}).get(name, 0)
        for name, g in found.items()
    }


class TestCorrections:
    @pytest.mark.parametrize(("options", "terms"), TERMS)
    @pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
    def test_sgd_with_them_is_what_is_written_down(
        self, options: Any, terms: Any, momentum: float, nesterov: bool
    ) -> None:
        model = checked(linear())
        start = {name: array.astype(np.float64) for name, array in model.get_weights().items()}
        weights, velocity = start, dict.fromkeys(start, np.zeros(()))
        for _ in range(4):
            g = gradients(weights, start, **terms)
            velocity = {name: momentum * velocity[name] - 0.1 * g[name] for name in g}
            step = {n: momentum * v - 0.1 * g[n] if nesterov else v for n, v in velocity.items()}
            weights = {name: weights[name] + step[name] for name in step}
        optimizer = f"sgd:momentum={momentum},nesterov={str(nesterov).lower()}"
        fit(model, (X, CLASSES), epochs=4, batch_size=40, optimizer=optimizer, **options)
        for name, array in model.get_weights().items():
            assert array == pytest.approx(weights[name], abs=2e-6)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: keras.optimizers.Adam(0.1),
            lambda: keras.optimizers.Adadelta(0.1),
            lambda: keras.optimizers.Ftrl(0.1),
            lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.5),
            lambda: keras.optimizers.SGD(0.1, loss_scale_factor=64.0),
            lambda: keras.optimizers.AdamW(0.1, use_ema=True, ema_overwrite_frequency=2),
            lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
        ],
    )
    def test_every_optimizer_is_given_the_sum_as_its_gradient(self, make: Any) -> None:
        model, own = checked(linear()), make()
        start = model.get_weights()
        held = {
            name: keras.Variable(array, name=name.replace("/", "_"))
            for name, array in start.items()
        }
        for _ in range(4):
            now = {name: keras.ops.convert_to_numpy(variable) for name, variable in held.items()}
            given = gradients(now, start, mu=0.7, anchor=ANCHOR, shift=SHIFT)
            scaled = [
                keras.ops.convert_to_tensor(g * (own.loss_scale_factor or 1), "float32")
                for g in given.values()
            ]
            own.apply(scaled, [held[name] for name in given])
        fit(
            model,
            (X, CLASSES),
            epochs=4,
            batch_size=40,
            optimizer=make(),
            mu=0.7,
            anchor=ANCHOR,
            shift=SHIFT,
        )
        for name, array in model.get_weights().items():
            assert array == pytest.approx(keras.ops.convert_to_numpy(held[name]), abs=1e-5)

    def test_without_a_value_nothing_differs_to_the_last_digit(self) -> None:
        def trained(*rounds: dict[str, Any]) -> list[bytes]:
            model = checked(
                sequential(layers.Dropout(0.3), layers.BatchNormalization(), layers.Dense(3))
            )
            start = model.get_weights()
            for options in rounds:
                model.set_weights(start)
                fit(model, (X, CLASSES), epochs=2, optimizer="adam", **options)
            return [array.tobytes() for array in model.get_weights().values()]

        plain, asked = trained({}), {"mu": 0.5, "shift": sequential_shift()}
        assert trained({"mu": 0.0, "anchor": None, "shift": None}) == plain
        assert trained(asked, {"mu": 0.0}) == plain
        assert trained(asked) != plain
        assert trained({}, asked, {"mu": 2.0}, asked) == trained(asked)

    @on_tensorflow
    def test_nothing_is_traced_for_a_round(self) -> None:
        traced = []

        class Spy(layers.Layer):
            def call(self, x: Any, training: bool = False) -> Any:
                traced.extend(["step"] if training else [])
                return x

        model = checked(keras.Sequential([layers.Input((4,)), Spy(), layers.Dense(3, name="out")]))
        asked: list[dict[str, Any]] = [
            {},
            {"mu": 0.1},
            {"mu": 0.2, "anchor": ANCHOR},
            {"shift": SHIFT},
        ]
        asked += [{"mu": 0.3, "shift": SHIFT}, {"shift": ANCHOR}]
        for options in asked:
            fit(model, (X, CLASSES), **options)
        before, variables = len(traced), len(model.model.optimizer.variables)
        for options in asked * 5:
            fit(model, (X, CLASSES), **options)
        assert len(traced) == before
        assert len(model.model.optimizer.variables) == variables

    def test_their_variables_are_nothing_that_a_party_keeps(self) -> None:
        model, state = checked(linear(), keep_optimizer=True), {}
        fit(model, (X, CLASSES), optimizer="adam", state=state)
        count = len(state["optimizer"])
        assert len(model.model.optimizer.variables) == count, (
            "none are made before they are asked for"
        )
        fit(model, (X, CLASSES), optimizer="adam", state=state, mu=1.0, shift=SHIFT)
        assert len(state["optimizer"]) == count
        fit(model, (X, CLASSES), optimizer="adam", state=state, mu=1.0)
        assert len(model.native(model.get_weights()).optimizer.variables) == count

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
    def test_they_are_no_part_of_a_scaled_loss(self, policy: str) -> None:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = checked(linear())
        finally:
            keras.config.set_dtype_policy(before)
        is_scaled = isinstance(model.model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert is_scaled == (policy == "mixed_float16")
        start = model.get_weights()

        def moved(**options: Any) -> Any:
            model.set_weights(start)
            assert (
                fit(model, (X, CLASSES), batch_size=40, optimizer="sgd", lr=0.1, **options)["steps"]
                == 1
            )
            return model.get_weights()

        plain, shifted, held = moved(), moved(shift=SHIFT), moved(mu=0.7, anchor=ANCHOR)
        tolerance = 2e-2 if policy == "bfloat16" else 1e-4
        for name in start:
            assert shifted[name] - plain[name] == pytest.approx(-0.1 * SHIFT[name], abs=tolerance)
            assert held[name] - plain[name] == pytest.approx(
                -0.07 * (start[name] - ANCHOR[name]), abs=tolerance
            )

    def test_gradients_of_few_words_are_corrected_for_all_words(self) -> None:
        model = keras.Sequential(
            [layers.Input((5,)), layers.Embedding(9, 4, name="words"), layers.Flatten()]
        )
        model.add(layers.Dense(3))
        x = np.random.default_rng(0).integers(0, 5, (40, 5))
        adapter = checked(model, x=x)
        start = adapter.get_weights()
        fit(
            adapter,
            (x, CLASSES),
            batch_size=40,
            mu=0.5,
            anchor={n: np.zeros_like(w) for n, w in start.items()},
        )
        unused = adapter.get_weights()["words/embeddings"][5:]
        assert unused == pytest.approx(start["words/embeddings"][5:] * 0.95, abs=1e-6)

    def test_a_train_step_of_the_users_is_corrected(self) -> None:
        model = checked(built(Stepping()))
        start = model.get_weights()
        fit(model, (X, CLASSES), batch_size=40)
        plain = model.get_weights()
        model.set_weights(start)
        shift = {name: np.ones_like(array) for name, array in start.items()}
        assert fit(model, (X, CLASSES), batch_size=40, shift=shift)["steps"] == 1
        for name, array in model.get_weights().items():
            assert array == pytest.approx(plain[name] - 0.1, abs=1e-6)

    def test_a_train_step_without_the_optimizer_is_told(self) -> None:
        model = checked(built(Aloof()))
        assert fit(model, (X, CLASSES))["steps"] == 5
        for _ in range(2):
            with pytest.raises(
                ModelError, match="own train_step changes weights without its optimizer's apply"
            ):
                fit(model, (X, CLASSES), mu=1.0)

    @pytest.mark.parametrize("fusion", ["fedprox:mu=1", "scaffold", "feddyn:alpha=0.5"])
    def test_fusions_that_ask_for_them_run(self, fusion: str, rows: Any) -> None:
        def run(fusion: str) -> Any:
            options: dict[str, Any] = {
                "parties": 3,
                "split": "shards:per_party=1",
                "epochs": 3,
                "batch_size": 8,
            }
            return federate(
                linear(), (rows[0][:, :4], rows[1]), fusion=fusion, rounds=6, lr=0.05, **options
            )

        found, plain = run(fusion), run("fedavg")
        assert found.status == "finished"
        assert found.history["loss"][-1] < found.history["loss"][0] / 2
        if fusion.startswith(
            "fedprox"
        ):  # parties that are held near the fused model learn their own rows less
            held, free = found.history["train_loss"], plain.history["train_loss"]
            assert all(a > b for a, b in zip(held, free, strict=True))
        else:  # parties with one class each go astray less
            assert found.history["loss"][-1] < plain.history["loss"][-1] * 0.8
        assert found.model.predict(rows[0][:, :4], verbose=0).shape == (240, 3)


def sequential_shift() -> Any:
    names = checked(sequential(layers.Dropout(0.3), layers.BatchNormalization(), layers.Dense(3)))
    return {name: np.full_like(names.get_weights()[name], 0.1) for name in names.trained_names()}


class TestSteps:
    def test_so_many_batches_are_taken(self) -> None:
        model, gates = checked(linear()), []
        model.gate = lambda: gates.append(1)
        for steps in (1, 3, 5, 7, 13):
            gates.clear()
            found = fit(model, (X, CLASSES), steps=steps, epochs=99)
            assert found["steps"] == len(gates) == steps
            assert found["travel"] == pytest.approx(0.1 * steps)

    def test_as_many_as_there_are_batches_are_one_epoch(self) -> None:
        def trained(**options: Any) -> Any:
            model = checked(sequential(layers.Dropout(0.3), layers.Dense(3)))
            return fit(model, (X, CLASSES), **options), [
                array.tobytes() for array in model.get_weights().values()
            ]

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

    def test_training_ends_with_the_pass_in_which_the_loss_explodes(self) -> None:
        rows = X.copy()
        rows[3] = np.nan
        found = fit(checked(linear()), (rows, CLASSES), steps=50)
        assert np.isnan(found["loss"])
        assert found["steps"] == 5

    def test_a_run_has_them(self) -> None:
        run = federate(linear(), (X, CLASSES), parties=2, rounds=2, lr=0.1, local_steps=3)
        assert run.status == "finished"

    @pytest.mark.parametrize(
        ("optimizer", "travel"),
        [
            ("sgd", 0.3),
            ("adam", 0.3),
            ("sgd:momentum=0.5", 0.1 * (1 + 1.5 + 1.75)),
            ("sgd:momentum=0.5,nesterov=true", 0.1 * (1.5 + 1.75 + 1.875)),
        ],
    )
    def test_travel_is_how_far_a_gradient_of_one_would_lead(
        self, optimizer: str, travel: float
    ) -> None:
        model = checked(linear())
        found = fit(model, (X, CLASSES), steps=3, optimizer=optimizer)
        assert found["travel"] == pytest.approx(travel, rel=1e-6)
        if optimizer.startswith("sgd"):
            own = optimizers.make(optimizer, 0.1)
            weight = keras.Variable(np.zeros(1, np.float32))
            for _ in range(3):
                own.apply([keras.ops.ones(1)], [weight])
            assert float(keras.ops.convert_to_numpy(weight)[0]) == pytest.approx(-travel, rel=1e-5)

    def test_travel_by_a_schedule_is_the_sum_of_its_rates(self) -> None:
        schedule = keras.optimizers.schedules.ExponentialDecay(0.4, 1, 0.5)
        model, state = checked(linear(), keep_optimizer=True), {}

        def travel(**options: Any) -> float:
            return float(fit(model, (X, CLASSES), steps=2, lr=None, **options)["travel"])

        optimizer = keras.optimizers.SGD(schedule)
        assert (
            travel(optimizer=optimizer) == travel(optimizer=optimizer) == pytest.approx(0.4 + 0.2)
        )
        assert travel(optimizer=optimizer, state=state) == pytest.approx(0.4 + 0.2)
        assert travel(optimizer=optimizer, state=state) == pytest.approx(0.1 + 0.05)

    def test_batches_that_are_gathered_are_one_step(self) -> None:
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 3], [0.4, 0.2, 0.1])
        optimizer = keras.optimizers.SGD(schedule, gradient_accumulation_steps=2)
        found = fit(checked(linear()), (X, CLASSES), steps=5, lr=None, optimizer=optimizer)
        assert found["steps"] == 2
        assert found["travel"] == pytest.approx(0.4 + 0.2)


class TestPredictions:
    @pytest.mark.parametrize("kind", ["array", "pair", "dataset"])
    def test_they_are_those_of_keras(self, kind: str) -> None:
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

    def test_rows_are_brought_to_the_model(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (40, 1, 2, 2), dtype=np.uint8)
        model = checked(linear(), x=images)
        logits = model.native(model.get_weights()).predict(
            images.reshape(40, 4) / np.float32(255), verbose=0
        )
        assert model.predict(images) == pytest.approx(np.array(keras.ops.softmax(logits)), abs=1e-5)

    def test_half_precision_becomes_single(self) -> None:
        model = keras.Sequential([layers.Input((4,)), layers.Dense(3, dtype="bfloat16")])
        assert checked(model).predict(X).dtype == np.float32

    def test_outputs_for_each_of_many_places(self) -> None:
        model = keras.Sequential([layers.Input((4,)), layers.Reshape((4, 1)), layers.Dense(3)])
        y = np.arange(160).reshape(40, 4) % 3
        assert checked(model, y).predict(X).shape == (40, 4, 3)


def test_batch_normalization_is_known_by_name() -> None:
    inner = keras.Sequential(
        [layers.Input((8,)), layers.BatchNormalization(name="deep")], name="inner"
    )
    model = checked(sequential(layers.BatchNormalization(name="norm"), inner, layers.Dense(3)))
    kinds = ("gamma", "beta", "moving_mean", "moving_variance")
    found = model.norm_names()
    assert {name.rpartition("/")[2] for name in found} == {*kinds}
    assert len(found) == 8
    assert found < set(model.get_weights())
    assert not checked(linear()).norm_names()


class TestWorkers:
    @on_tensorflow
    def test_nothing_is_traced_anew_for_a_party_or_a_round(self) -> None:
        traced = []

        class Spy(layers.Layer):
            def call(self, x: Any) -> Any:
                traced.append(x.shape)
                return x

        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.Input((4,)), Spy(), layers.Dense(3)])
        sizes = [9, 10, 11, 13, 17, 22, 30]
        parts = [(np.resize(X, (n, 4)), np.resize(CLASSES, n)) for n in sizes]
        run = federate(model, parts, rounds=2, batch_size=8, lr=0.1)
        before = len(traced)
        run.more(3).wait()
        again = len(traced) - before
        assert before <= 16
        # Workers are made anew for more rounds, and so is their graph: once for whole batches, once
        # for any other.
        assert again <= 6

    @pytest.mark.slow
    @pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"fusion": "feddyn"}])
    def test_memory_is_flat_over_two_hundred_rounds(self, options: dict[str, Any]) -> None:
        model = sequential(layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(3))
        spec = RunSpec(data="data", parties=4, batch_size=8, **options)
        federation = build(spec, {"model": model, "data": (X, CLASSES)})
        process = psutil.Process()
        seen = [
            process.memory_info().rss / 2**20
            for record in federation.rounds(240)
            if record.round % 20 == 0
        ]
        warm = seen[2:]
        assert max(warm) - warm[0] < 8, f"MiB every 20 rounds: {[round(size) for size in seen]}"


class TestShapes:
    @pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (1, 28, 28)])
    @pytest.mark.parametrize(
        "wanted", [(28, 28), (28, 28, 1), (1, 28, 28), (784,), (None, None, 1)]
    )
    def test_images_are_brought_to_what_the_model_takes(self, shape: Any, wanted: Any) -> None:
        pixels = np.arange(2 * 784).reshape(2, 784)
        found = inputs.bring(pixels.reshape(2, *shape), wanted)
        assert inputs.fits(found.shape[1:], wanted)
        assert np.array_equal(found.reshape(2, 784), pixels)

    def test_channels_are_moved_and_not_merely_relabelled(self) -> None:
        x = np.random.default_rng(0).random((2, 3, 32, 32))
        assert np.array_equal(inputs.bring(x, (32, 32, 3))[1, 5, 7], x[1, :, 5, 7])
        assert np.array_equal(inputs.bring(np.moveaxis(x, 1, -1), (3, 32, 32)), x)

    def test_both_shapes_are_named_where_they_do_not_go_together(self) -> None:
        with pytest.raises(DataError, match=r"rows have shape \(4,\) and the model takes \(7,\)"):
            checked(sequential(layers.Dense(3), inputs=7))

    @pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (1, 28, 28)])
    @pytest.mark.parametrize("kind", [np.uint8, np.float64])
    @pytest.mark.parametrize("one_hot", [True, False])
    def test_a_file_like_mnist_is_read(
        self, tmp_path: Path, shape: Any, kind: Any, one_hot: bool
    ) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (20, 784))
        x = (pixels if kind == np.uint8 else pixels / 255).astype(kind).reshape(20, *shape)
        y = np.arange(20) % 10
        stored = np.eye(10)[y] if one_hot else y
        np.savez(
            tmp_path / "some.npz", x_train=x, y_train=stored, x_test=x[:10], y_test=stored[:10]
        )
        (found, _), _ = MnistKeras(str(tmp_path / "some.npz")).get_data()
        assert found.shape == (20, 28, 28, 1)
        assert found.max() <= 1
        model = keras.Sequential([layers.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
        run = federate(
            model, str(tmp_path / "some.npz"), data_handler="mnist_keras", parties=2, rounds=1
        )
        assert run.result().chosen["fusion"] == "fedavg"

    @pytest.mark.parametrize("shape", [(32, 32, 3), (3, 32, 32)])
    def test_a_file_like_cifar10_is_read(self, tmp_path: Path, shape: Any) -> None:
        x = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
        y = (np.arange(20) % 10)[:, None]
        np.savez(tmp_path / "some.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        (found, _), _ = Cifar10Keras(str(tmp_path / "some.npz")).get_data()
        assert found.shape == (20, 32, 32, 3)
        model = keras.Sequential([layers.Input((32, 32, 3)), layers.Flatten(), layers.Dense(10)])
        assert federate(
            model, str(tmp_path / "some.npz"), data_handler="cifar10_keras", parties=2, rounds=1
        ).history["accuracy"]

    def test_other_images_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "some.npz", x_train=np.zeros((4, 8, 8)), y_train=np.arange(4))
        for handler in (MnistKeras, Cifar10Keras):
            with pytest.raises(DataError, match=r"these rows have shape \(8, 8\)"):
                handler(str(tmp_path / "some.npz")).get_data()


class TestFiles:
    def test_a_fresh_process_finds_the_same_metrics(self, tmp_path: Path) -> None:
        x, y = np.resize(X, (200, 4)), (np.resize(X, (200, 4))[:, 0] > 0).astype(np.int64)
        model = sequential(layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2))
        run = federate(model, ((x, y), (x, y)), parties=2, rounds=3, lr=0.1)
        written = run.export(str(tmp_path / "fused"), run.formats)
        assert {"model.keras", "model.weights.h5"} <= {path.name for path in written}
        np.savez(tmp_path / "rows.npz", x=x, y=y)
        script = f"""
import json, sys
import numpy as np, keras
rows = np.load({str(tmp_path / "rows.npz")!r})
model = keras.saving.load_model({str(tmp_path / "fused/model.keras")!r})
found = [model.evaluate(rows["x"], rows["y"], verbose=0, return_dict=True)]
model.set_weights([0 * w for w in model.get_weights()])
model.load_weights({str(tmp_path / "fused/model.weights.h5")!r})
found.append(model.evaluate(rows["x"], rows["y"], verbose=0, return_dict=True))
if {"savedmodel" in run.formats}:
    folder = {str(tmp_path / "fused/model_savedmodel")!r}
    saved = keras.layers.TFSMLayer(folder, call_endpoint="serve")
    output = keras.ops.convert_to_numpy(saved(rows["x"]))
    found.append({{"accuracy": float((output.argmax(1) == rows["y"]).mean())}})
print(json.dumps(found))
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        assert len(found) == len(run.formats)
        for metrics in found:
            for name, value in metrics.items():
                assert value == pytest.approx(run.history[name][-1], abs=1e-6)
        card = json.loads((tmp_path / "fused/card.json").read_text())
        assert card["versions"]["keras"] == keras.__version__
        assert run.export(str(tmp_path / "fused"), run.formats, overwrite=True)

    def test_a_model_file_is_a_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        sequential(layers.Dense(3)).save("mine.keras")
        assert isinstance(base.find("mine.keras", {}), keras.Model)
        assert federate("mine.keras", (X, CLASSES), parties=2, rounds=1).status == "finished"

    def test_code_in_a_file_is_not_run(self, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        code = eval(f"lambda x: (open({str(ran)!r}, 'w').close(), x)[1]")
        model = keras.Sequential([layers.Input((4,)), layers.Lambda(code)])
        ran.unlink(missing_ok=True)
        model.save(tmp_path / "hostile.keras")
        with pytest.raises(ModelError, match=r"hostile\.keras is refused"):
            files.load(tmp_path / "hostile.keras")
        assert not ran.exists()

    @pytest.mark.parametrize("damage", ["no zip", "no config", "cut"])
    def test_a_damaged_file_is_refused_in_one_line(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "bad.keras"
        sequential(layers.Dense(3)).save(path)
        content = path.read_bytes()
        if damage == "no config":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("metadata.json", "{}")
        else:
            path.write_bytes(b"nothing" if damage == "no zip" else content[: len(content) // 2])
        with pytest.raises(ModelError) as caught:
            files.load(path)
        assert "\n" not in caught.value.message


def two_inputs() -> Any:
    both = [layers.Input((4,)), layers.Input((4,))]
    return keras.Model(both, layers.Dense(3)(layers.Add()(both)))


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Plain(), "is not built yet"),
            (
                lambda: built(Holder(layers.Dense(3))),
                "was given layers, which its copy would share",
            ),
            (
                lambda: built(Forgetful(3)),
                "parties train copies: it does not keep its argument 'outputs_wanted'",
            ),
            (lambda: two_inputs(), "has 2 inputs"),
            (
                lambda: keras.Sequential([layers.Input((4,)), layers.Dense(3, trainable=False)]),
                "no weight that",
            ),
            (lambda: sequential(layers.Dense(2)), "2 outputs, but labels run from 0 to 2"),
            (lambda: sequential(layers.Dense(3), inputs=9), "the model takes"),
        ],
    )
    def test_a_model_that_can_not_be_federated(self, make: Any, message: str) -> None:
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
    def test_losses_that_would_train_nothing(
        self, last: Any, y: np.ndarray, loss: str, message: str
    ) -> None:
        with pytest.raises(ModelError, match=message):
            checked(sequential(last), y, loss=loss)

    def test_a_number_that_the_embedding_does_not_know(self) -> None:
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

    def test_weights_of_one_name(self) -> None:
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
    def test_options_that_a_keras_model_does_not_have(self, options: Any, message: str) -> None:
        namespace = {
            "model": sequential(layers.Dense(3)),
            "rows": options.pop("data", (X, CLASSES)),
        }
        with pytest.raises(FusionError) as caught:
            build(RunSpec(data="rows", **options), namespace)
        assert message in str(caught.value)

    def test_an_option_of_the_fusion_that_it_can_not_honour(self) -> None:
        with pytest.raises(OptionError, match="mix"):
            fit(checked(sequential(layers.Dense(3))), (X, CLASSES), mix={})


def test_losses_know_every_name_that_they_list() -> None:
    for name in losses.NAMES:
        assert (
            losses.named(name, np.full((4, 3), 1 / 3, np.float32), _labels(name), "softmax").loss
            is not None
        )


def _labels(name: str) -> np.ndarray:
    return np.arange(4) % 3 if "categorical" in name else np.ones((4, 3), np.int64)


def test_the_frameworks_chatter_stays_out_of_the_output() -> None:
    script = "import fusion_nb.models.keras as k; k.keras.ops.ones(2); print('loaded')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "loaded\n"
    assert done.stderr == ""


@on_tensorflow
def test_nor_is_it_seen_when_a_cell_imports_keras_by_itself() -> None:
    script = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "ip = InteractiveShell.instance()\nip.run_line_magic('load_ext', 'fusion_nb')\n"
        "ip.run_cell('import keras; keras.ops.ones(2)')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_what_is_no_chatter_is_passed_on() -> None:
    script = (
        "import os\nfrom fusion_nb.quiet import quiet\n"
        "with quiet():\n    os.write(2, b'I0000 00:00:1.1 1 port.cc:1] chatter\\nsomething is "
        "wrong\\n')\n"
        "os.write(2, b'after\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == "something is wrong\nafter\n"
