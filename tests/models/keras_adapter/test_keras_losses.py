"""The loss of a Keras model: inferred, named, given or compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_samples import (
    CLASSES,
    X,
    checked,
    fit,
    layers,
    sequential,
)

from fusion_nb import federate
from fusion_nb.core.schema import DataSchema
from fusion_nb.models.keras import losses
from fusion_nb.models.keras.adapter import KerasModel, keras


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
    def test_the_inferred_loss_fits_output_and_labels(
        self, last: Any, y: np.ndarray, name: str, metrics: str
    ) -> None:
        model = KerasModel(sequential(last))
        notes = model.check((X, y), DataSchema.of((X, y)), lr=0.1, optimizer="sgd")
        assert notes[0].startswith(f"loss: {name}")
        assert np.isfinite(fit(model, (X, y)).metrics["loss"])
        found = model.evaluate((X, y))
        assert set(found) == set(model.metrics)
        assert metrics in " ".join(model.metrics)

    @pytest.mark.parametrize("logits", [True, False])
    def test_binary_accuracy_of_logits_and_of_probabilities(self, logits: bool) -> None:
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

    def test_the_loss_and_optimizer_of_compile_are_used(self) -> None:
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

    def test_the_loss_of_an_earlier_compile_is_forgotten(self) -> None:
        theirs = sequential(layers.Dense(3))
        theirs.compile("sgd", "mse")
        theirs.compile("adam")
        notes = KerasModel(theirs).check(
            (X, CLASSES), DataSchema.of((X, CLASSES)), lr=0.1, optimizer="sgd"
        )
        assert notes[0].startswith(
            "loss: sparse_categorical_crossentropy (the model ends in logits"
        )

    def test_a_file_keeps_the_optimizer_of_compile(self, tmp_path: Path) -> None:
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
    def test_probabilities_with_a_loss_of_logits_give_a_warning(self) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adapter = KerasModel(sequential(layers.Dense(3, activation="softmax")), loss=loss)
        notes = adapter.check((X, CLASSES), DataSchema.of((X, CLASSES)), lr=0.1, optimizer="sgd")
        assert any("wants logits" in note for note in notes)


def test_every_listed_loss_name_is_a_loss() -> None:
    output = np.full((4, 3), 1 / 3, np.float32)
    for name in losses.NAMES:
        y = np.arange(4) % 3 if "categorical" in name else np.ones((4, 3), np.int64)
        labels = DataSchema.of((X[:4], y)).labels
        assert losses.named(name, output, labels, "softmax").loss is not None
