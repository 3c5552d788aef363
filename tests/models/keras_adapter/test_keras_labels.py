"""Labels in the forms that users write them in, and the loss that each is meant for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import CLASSES, X, checked, fit, layers, sequential

from fusion_nb import federate
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.keras.adapter import KerasModel, keras

ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
SHARES = np.abs(X[:, :3]) / np.abs(X[:, :3]).sum(1, keepdims=True)


def expected(loss: Any, model: KerasModel, y: np.ndarray) -> float:
    """Return the loss that Keras itself gives these labels, as the user wrote them."""
    output = model.native(model.get_weights())(X)
    return float(keras.ops.convert_to_numpy(keras.ops.mean(loss(keras.ops.array(y), output))))


def conclusions(model: Any, y: np.ndarray, x: np.ndarray = X, **options: Any) -> list[str]:
    adapter = KerasModel(model, **options)
    return adapter.check((x, y), DataSchema.of((x, y)), lr=0.1, optimizer="sgd")


def agreed(y: np.ndarray) -> np.ndarray:
    return DataSchema.of((X, y)).labels.numbered(y)


class TestOneHot:
    @pytest.mark.parametrize(
        ("last", "loss", "keras_loss"),
        [
            ("sigmoid", "binary_crossentropy", keras.losses.binary_crossentropy),
            (None, "mse", keras.losses.mean_squared_error),
            (None, keras.losses.MeanAbsoluteError(), keras.losses.mean_absolute_error),
            ("softmax", keras.losses.KLDivergence(), keras.losses.kl_divergence),
            (None, keras.losses.CategoricalHinge(), keras.losses.categorical_hinge),
        ],
    )
    def test_a_loss_gets_the_rows_of_0_and_1(self, last: Any, loss: Any, keras_loss: Any) -> None:
        model = checked(sequential(layers.Dense(3, activation=last)), ONE_HOT, loss=loss)
        found = model.evaluate((X, agreed(ONE_HOT)))
        assert found["loss"] == pytest.approx(expected(keras_loss, model, ONE_HOT), rel=1e-4)
        assert "accuracy" in model.metrics

    def test_a_function_of_the_users_gets_them_as_they_were_written(self) -> None:
        seen = []

        def mine(y: Any, out: Any) -> Any:
            seen.append(tuple(y.shape))
            return keras.ops.mean((y - out) ** 2, axis=-1)

        model = checked(sequential(layers.Dense(3)), ONE_HOT, loss=mine)
        found = model.evaluate((X, agreed(ONE_HOT)))
        assert {shape[1:] for shape in seen} == {(3,)}
        wanted = expected(keras.losses.mean_squared_error, model, ONE_HOT)
        assert found["loss"] == pytest.approx(wanted, rel=1e-4)

    def test_the_rows_of_a_dataset_stay_one_hot_until_the_loss(self) -> None:
        pairs = list(zip(X, ONE_HOT, strict=True))
        model = sequential(layers.Dense(3, activation="sigmoid"))
        model.compile("sgd", "binary_crossentropy")
        lazy = checked(model, ONE_HOT).evaluate(pairs)
        assert lazy == checked(model, ONE_HOT).evaluate((X, agreed(ONE_HOT)))

    def test_a_compiled_loss_is_meant_as_well(self) -> None:
        model = sequential(layers.Dense(3, activation="sigmoid"))
        model.compile("sgd", "binary_crossentropy")
        run = federate(model, (X, ONE_HOT), parties=2, rounds=1)
        assert run.status == "finished"
        assert run.history["accuracy"][-1] <= 1


class TestShares:
    @pytest.mark.parametrize("loss", ["", "categorical_crossentropy", "compiled"])
    def test_soft_labels_are_shares_of_classes(self, loss: str) -> None:
        theirs = sequential(layers.Dense(3, activation="softmax"))
        if loss == "compiled":
            theirs.compile("sgd", "categorical_crossentropy")
        model = checked(theirs, SHARES, **({} if loss == "compiled" else {"loss": loss}))
        wanted = expected(keras.losses.categorical_crossentropy, model, SHARES)
        assert model.evaluate((X, SHARES))["loss"] == pytest.approx(wanted, rel=1e-4)
        assert model.metrics[0] == "loss"

    @pytest.mark.parametrize("scale", [0.98, 0.5])
    def test_fractions_are_monitored_by_their_loss(self, scale: float) -> None:
        pixels = np.random.default_rng(0).random((40, 4)).astype(np.float32) * scale
        model = sequential(layers.Dense(4, activation="sigmoid"))
        model.compile("sgd", "binary_crossentropy")
        assert checked(model, pixels).metrics == ("loss", "mae")

    def test_an_autoencoder_of_bytes_is_trained_on_scaled_bytes(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
        body = [layers.Input((8, 8)), layers.Flatten(), layers.Dense(64, activation="sigmoid")]
        for loss in ("mse", "binary_crossentropy"):
            model = keras.Sequential([*body, layers.Reshape((8, 8))])
            model.compile("adam", loss)
            adapter = checked(model, images, images)
            assert adapter.evaluate((images, images))["loss"] < 1
            assert adapter.metrics[0] == "loss"


class TestClasses:
    def test_a_sigmoid_over_classes_is_told_and_not_taken_for_logits(self) -> None:
        notes = conclusions(sequential(layers.Dense(3, activation="sigmoid")), CLASSES)
        assert not any("logits" in note for note in notes)
        assert any("warning: the model ends in a sigmoid for each of 3" in note for note in notes)

    @pytest.mark.parametrize(
        ("last", "loss"),
        [
            ("sigmoid", "sparse_categorical_crossentropy"),
            ("hard_sigmoid", "categorical_crossentropy"),
            ("sigmoid", keras.losses.SparseCategoricalCrossentropy()),
            ("sigmoid", keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        ],
    )
    @pytest.mark.filterwarnings("ignore:.*received `from_logits=True`")
    def test_a_named_loss_of_classes_warns_of_a_sigmoid(self, last: str, loss: Any) -> None:
        notes = conclusions(sequential(layers.Dense(3, activation=last)), CLASSES, loss=loss)
        assert any(note.startswith("warning") for note in notes)

    @pytest.mark.parametrize("loss", ["binary_crossentropy", "mse", keras.losses.Huber()])
    @pytest.mark.filterwarnings("ignore:You are using a softmax")
    def test_a_softmax_over_one_output_is_refused_with_any_loss(self, loss: Any) -> None:
        model = sequential(layers.Dense(1, activation="softmax"))
        with pytest.raises(ModelError, match="always 1"):
            checked(model, CLASSES % 2, loss=loss)


class TestMasks:
    IMAGES = np.random.default_rng(0).normal(size=(12, 4, 4, 3)).astype(np.float32)

    @pytest.mark.parametrize("shape", [(4, 4, 1), (1, 4, 4), (4, 4)])
    @pytest.mark.parametrize("loss", ["", "sparse_categorical_crossentropy"])
    def test_a_mask_may_have_a_channel(self, shape: tuple[int, ...], loss: str) -> None:
        masks = np.random.default_rng(0).integers(0, 3, (12, *shape)).astype(np.uint8)
        model = keras.Sequential([layers.Input((4, 4, 3)), layers.Conv2D(3, 1)])
        adapter = checked(model, masks, self.IMAGES, loss=loss)
        assert 0 <= adapter.evaluate((self.IMAGES, masks))["accuracy"] <= 1
        assert np.isfinite(fit(adapter, (self.IMAGES, masks)).metrics["loss"])

    def test_a_series_may_have_one(self) -> None:
        steps = np.random.default_rng(0).integers(0, 3, (40, 5, 1))
        model = keras.Sequential([layers.Input((5, 2)), layers.Dense(3)])
        rows = np.zeros((40, 5, 2), np.float32)
        assert checked(model, steps, rows).metrics == ("accuracy", "loss")

    def test_a_mask_of_another_size_is_refused(self) -> None:
        masks = np.random.default_rng(0).integers(0, 3, (12, 5, 5, 1))
        model = keras.Sequential([layers.Input((4, 4, 3)), layers.Conv2D(3, 1)])
        with pytest.raises(ModelError, match=r"\(rows, 5, 5, 1\)"):
            checked(model, masks, self.IMAGES)
