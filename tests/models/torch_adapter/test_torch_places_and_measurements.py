"""Labels of several numbers: masks, images, several yes or no, and several measurements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.torch.adapter import TorchModel

IMAGES = np.random.default_rng(0).normal(size=(20, 1, 8, 8)).astype(np.float32)
BYTES = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
YES = (IMAGES > 0).astype(np.int64)


def output_of(model: TorchModel, x: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model.module(torch.tensor(x))
    return output


class TestMasks:
    @pytest.mark.parametrize("y", [YES, YES[:, 0], YES[:, 0, :, :, None]])
    @pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32, bool])
    @pytest.mark.parametrize("loss", ["", "cross_entropy", nn.CrossEntropyLoss()])
    def test_an_output_for_each_class(self, y: np.ndarray, dtype: Any, loss: Any) -> None:
        model = checked(nn.Conv2d(1, 2, 1), y.astype(dtype), IMAGES, loss=loss)
        output, target = output_of(model, IMAGES), torch.tensor(YES[:, 0])
        right = float((output.argmax(1) == target).double().mean())
        wanted = {"accuracy": right, "loss": float(F.cross_entropy(output, target))}
        assert model.evaluate((IMAGES, y.astype(dtype))) == pytest.approx(wanted, rel=1e-5)

    @pytest.mark.parametrize("y", [YES, YES[:, 0], YES[:, 0, :, :, None]])
    @pytest.mark.parametrize("loss", ["", "bce_logits", nn.BCEWithLogitsLoss()])
    def test_one_output_for_yes_or_no(self, y: np.ndarray, loss: Any) -> None:
        model = checked(nn.Conv2d(1, 1, 1), y, IMAGES, loss=loss)
        output, target = output_of(model, IMAGES), torch.tensor(YES)
        right = float(((output > 0) == target).double().mean())
        loss_of = F.binary_cross_entropy_with_logits(output, target.float())
        wanted = {"accuracy": right, "loss": float(loss_of)}
        assert model.evaluate((IMAGES, y)) == pytest.approx(wanted, rel=1e-5)

    @pytest.mark.parametrize("width", [1, 2])
    @pytest.mark.parametrize("y", [YES, YES[:, 0]])
    def test_bytes_of_0_and_255_are_yes_or_no(self, width: int, y: np.ndarray) -> None:
        module = nn.Conv2d(1, width, 1)
        found = [
            checked(module, labels, IMAGES).evaluate((IMAGES, labels))
            for labels in ((y * 255).astype(np.uint8), y)
        ]
        assert found[0] == pytest.approx(found[1], rel=1e-6)
        assert "accuracy" in found[0]

    def test_a_function_of_the_users_own_gets_the_channel(self) -> None:
        model = checked(
            nn.Conv2d(1, 2, 1), YES, IMAGES, loss=lambda o, t: F.cross_entropy(o, t[:, 0])
        )
        output, target = output_of(model, IMAGES), torch.tensor(YES[:, 0])
        right = float((output.argmax(1) == target).double().mean())
        wanted = {"accuracy": right, "loss": float(F.cross_entropy(output, target))}
        assert model.evaluate((IMAGES, YES)) == pytest.approx(wanted, rel=1e-5)

    def test_a_border_with_one_output_is_warned_of(self) -> None:
        y = YES[:, 0].copy()
        y[:, 0] = 255
        model = TorchModel(nn.Conv2d(1, 1, 1), device="cpu")
        notes = model.check((IMAGES, y), DataSchema.of((IMAGES, y)), lr=0.1, optimizer="sgd")
        assert any("255 among them" in note for note in notes)


class TestImagesAsLabels:
    @pytest.mark.parametrize("y", [BYTES, BYTES[:, 0], BYTES.reshape(20, 64)])
    @pytest.mark.parametrize("loss", ["", "bce", "l1", nn.MSELoss()])
    def test_bytes_are_scaled_like_the_rows(self, y: np.ndarray, loss: Any) -> None:
        module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sigmoid())
        model = checked(module, y, BYTES, loss=loss)
        found = model.evaluate((BYTES, y))
        pixels = torch.tensor(BYTES).float() / 255
        function = {"bce": F.binary_cross_entropy, "l1": F.l1_loss}.get(str(loss), F.mse_loss)
        with torch.no_grad():
            wanted = function(model.module(pixels), pixels)
        assert found["loss"] == pytest.approx(float(wanted), rel=1e-5)
        assert np.isfinite(fit(model, (BYTES, y)).metrics["loss"])

    def test_a_flat_autoencoder(self) -> None:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 64), nn.Sigmoid())
        assert checked(module, BYTES, BYTES).evaluate((BYTES, BYTES))["loss"] < 1

    def test_other_orders_of_axes_are_refused(self) -> None:
        x = np.random.default_rng(0).normal(size=(8, 3, 4, 4)).astype(np.float32)
        with pytest.raises(ModelError, match="don't go together"):
            checked(nn.Conv2d(3, 3, 1), x.transpose(0, 2, 3, 1).copy(), x)


class TestFractions:
    @pytest.mark.parametrize("loss", ["bce", nn.BCELoss(), F.binary_cross_entropy])
    def test_shares_of_a_yes_have_no_accuracy(self, loss: Any) -> None:
        y = 1 / (1 + np.exp(-IMAGES))
        module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sigmoid())
        model = checked(module, y, IMAGES, loss=loss)
        assert model.metrics == ("loss",)
        wanted = F.binary_cross_entropy(output_of(model, IMAGES), torch.tensor(y))
        assert model.evaluate((IMAGES, y)) == pytest.approx({"loss": float(wanted)}, rel=1e-5)

    @pytest.mark.parametrize("loss", ["bce_logits", nn.BCEWithLogitsLoss()])
    def test_one_number_a_row(self, loss: Any) -> None:
        y = 1 / (1 + np.exp(-X[:, 0]))
        assert checked(nn.Linear(4, 1), y, loss=loss).metrics == ("loss",)

    @pytest.mark.parametrize("y", [YES, YES.astype(np.float32), (YES * 255).astype(np.uint8)])
    def test_whole_yes_or_no_has_one(self, y: np.ndarray) -> None:
        module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sigmoid())
        assert checked(module, y, IMAGES, loss="bce").metrics == ("accuracy", "loss")


class TestSeveralNumbers:
    @pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64, bool])
    @pytest.mark.parametrize(
        ("last", "loss"),
        [
            (nn.Identity(), ""),
            (nn.Sigmoid(), ""),
            (nn.Identity(), nn.MultiLabelSoftMarginLoss()),
            (nn.Sigmoid(), nn.BCELoss()),
        ],
    )
    def test_several_yes_or_no(self, last: nn.Module, loss: Any, dtype: Any) -> None:
        y = (X[:, :3] > 0).astype(dtype)
        model = checked(nn.Sequential(nn.Linear(4, 3), last), y, loss=loss)
        threshold = 0.5 if isinstance(last, nn.Sigmoid) else 0
        right = (output_of(model, X).numpy() > threshold) == (y > 0.5)
        assert model.evaluate((X, y))["accuracy"] == pytest.approx(right.mean())

    def test_several_yes_or_no_are_no_shares(self) -> None:
        y = (X[:, :3] > 0).astype(int)
        model = TorchModel(nn.Linear(4, 3), device="cpu", loss="cross_entropy")
        notes = model.check((X, y), DataSchema.of((X, y)), lr=0.1, optimizer="sgd")
        assert any("the loss for these is bce_logits" in note for note in notes)

    @pytest.mark.parametrize("loss", ["", "mse", nn.MSELoss(), F.mse_loss])
    @pytest.mark.parametrize("width", [2, 3])
    def test_several_measurements(self, loss: Any, width: int) -> None:
        y = X[:, :width] * 3 + 1
        model = checked(nn.Linear(4, width), y, loss=loss)
        wanted = F.mse_loss(output_of(model, X), torch.tensor(y))
        found = model.evaluate((X, y))
        assert found["loss"] == pytest.approx(float(wanted), rel=1e-5)
        assert "accuracy" not in found

    def test_classes_beside_measurements_are_not_mixed_up(self) -> None:
        assert checked(nn.Linear(4, 3), CLASSES).metrics == ("accuracy", "loss")
        assert checked(nn.Linear(4, 1), X[:, :1]).metrics == ("loss", "mae")
