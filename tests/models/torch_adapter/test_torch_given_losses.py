"""Losses that a user gives as objects, partials and functions: their settings, and their labels."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.adapter import TorchModel

WEIGHT = torch.tensor([1.0, 2.0, 5.0])


def output_of(model: TorchModel) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model.module(torch.tensor(X))
    return output


class TestSettings:
    @pytest.mark.parametrize(
        "settings",
        [
            {"label_smoothing": 0.1},
            {"weight": WEIGHT},
            {"weight": WEIGHT.double()},
            {"weight": WEIGHT.half(), "label_smoothing": 0.2},
        ],
    )
    @pytest.mark.parametrize("form", ["object", "partial"])
    def test_those_of_cross_entropy_apply(self, settings: dict[str, Any], form: str) -> None:
        loss: Any = nn.CrossEntropyLoss(**settings)
        if form == "partial":
            loss = functools.partial(F.cross_entropy, **settings)
        model = checked(nn.Linear(4, 3), loss=loss)
        exact = {
            name: value.float() if isinstance(value, torch.Tensor) else value
            for name, value in settings.items()
        }
        wanted = F.cross_entropy(output_of(model), torch.tensor(CLASSES), **exact)
        assert model.evaluate((X, CLASSES))["loss"] == pytest.approx(float(wanted), rel=1e-5)
        assert model.metrics == ("accuracy", "loss")
        assert np.isfinite(fit(model, (X, CLASSES)).metrics["loss"])

    def test_the_users_own_tensors_stay_as_they_are(self) -> None:
        loss = nn.CrossEntropyLoss(weight=WEIGHT.double())
        checked(nn.Linear(4, 3), loss=loss)
        assert loss.weight is not None
        assert loss.weight.dtype == torch.float64

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_weight_of_yes_has_the_type_of_the_model(self, dtype: torch.dtype) -> None:
        loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0], dtype=torch.float64))
        y, x = CLASSES % 2, X.astype(np.float64 if dtype == torch.float64 else np.float32)
        model = checked(nn.Linear(4, 1, dtype=dtype), y, x, loss=loss)
        with torch.no_grad():
            output = model.module(torch.tensor(x)).double()
        wanted = loss(output, torch.tensor(y)[:, None].double())
        assert model.evaluate((x, y))["loss"] == pytest.approx(float(wanted), rel=1e-5)

    def test_class_weights_of_another_number_are_refused(self) -> None:
        with pytest.raises(ModelError, match="weight tensor should be defined"):
            checked(nn.Linear(4, 3), loss=nn.CrossEntropyLoss(weight=torch.ones(2)))

    @pytest.mark.parametrize(
        ("loss", "module", "y"),
        [
            (nn.CrossEntropyLoss(reduction="sum"), nn.Linear(4, 3), CLASSES),
            (nn.BCEWithLogitsLoss(reduction="sum"), nn.Linear(4, 1), CLASSES % 2),
            (nn.MSELoss(reduction="sum"), nn.Linear(4, 1), X[:, 0]),
            (functools.partial(F.l1_loss, reduction="sum"), nn.Linear(4, 1), X[:, 0]),
        ],
    )
    def test_a_sum_is_reported_as_a_mean_over_rows(
        self, loss: Any, module: nn.Module, y: np.ndarray
    ) -> None:
        model = checked(module, y, loss=loss)
        output = output_of(model)
        target = torch.tensor(y) if output.shape[1] == 3 else torch.tensor(y).float()[:, None]
        wanted = float(loss(output, target)) / len(X)
        assert model.evaluate((X, y))["loss"] == pytest.approx(wanted, rel=1e-5)

    @pytest.mark.parametrize(
        ("loss", "y"),
        [
            (nn.CrossEntropyLoss(reduction="none"), CLASSES),
            (nn.MSELoss(reduction="none"), X[:, :3]),
            (functools.partial(F.cross_entropy, reduction="none"), CLASSES),
        ],
    )
    def test_an_array_of_losses_is_refused(self, loss: Any, y: np.ndarray) -> None:
        with pytest.raises(ModelError, match="returns no single number") as caught:
            checked(nn.Linear(4, 3), y, loss=loss)
        assert "reduction='mean'" in caught.value.hint


class TestShapesOfLabels:
    @pytest.mark.parametrize("y", [X[:, 0], X[:, :1]])
    @pytest.mark.parametrize(
        "loss",
        [
            lambda output, target: ((output.squeeze(1) - target.reshape(-1)) ** 2).mean(),
            lambda output, target: ((output - target.reshape(-1, 1)) ** 2).mean(),
            lambda output, target: ((output[:, 0] - target) ** 2).mean(),
            lambda output, target: ((output - target) ** 2).mean(),
            lambda output, target: F.mse_loss(output.squeeze(1), target),
        ],
    )
    def test_no_row_is_compared_with_all_others(self, loss: Any, y: np.ndarray) -> None:
        model = checked(nn.Linear(4, 1), y, loss=loss)
        wanted = ((output_of(model)[:, 0].numpy() - X[:, 0]) ** 2).mean()
        found = model.evaluate((X, X[:, 0]))
        assert found["loss"] == pytest.approx(wanted, rel=1e-5)
        assert found["mse"] == pytest.approx(wanted, rel=1e-5)

    @pytest.mark.parametrize(
        "loss",
        [
            lambda output, target: F.binary_cross_entropy_with_logits(output.squeeze(1), target),
            lambda output, target: F.soft_margin_loss(output[:, 0], 2 * target - 1),
            lambda output, target: F.relu(1 - (2 * target - 1) * output.squeeze(-1)).mean(),
        ],
    )
    def test_nor_its_yes_or_no(self, loss: Any) -> None:
        y = CLASSES % 2
        model = checked(nn.Linear(4, 1), y, loss=loss)
        output = output_of(model)
        found = model.evaluate((X, y))
        wanted = float(loss(output, torch.tensor(y).float()))
        assert found["loss"] == pytest.approx(wanted, rel=1e-5)
        right = ((output[:, 0] > 0).numpy() == y).mean()
        assert found["accuracy"] == pytest.approx(right)

    def test_places_of_rows_neither(self) -> None:
        x = np.random.default_rng(0).normal(size=(12, 5, 4)).astype(np.float32)
        y = x[..., 0].copy()
        model = checked(nn.Linear(4, 1), y, x, loss=lambda o, t: ((o[..., 0] - t) ** 2).mean())
        with torch.no_grad():
            wanted = ((model.module(torch.tensor(x))[..., 0].numpy() - y) ** 2).mean()
        assert model.evaluate((x, y))["loss"] == pytest.approx(wanted, rel=1e-5)


class TestLabelsOfTheUsersOwn:
    @pytest.mark.parametrize("time", [np.abs(X[:, 0]), np.arange(40) + 1, np.arange(40) % 3])
    @pytest.mark.parametrize("width", [1, 2])
    def test_survival_has_a_time_and_an_event(self, time: np.ndarray, width: int) -> None:
        def negative_log_likelihood(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            rate, (time, event) = output[:, 0], label.unbind(1)
            return (rate.exp() * time - rate * event).mean()

        y = np.stack([time, X[:, 1] > 0], axis=1)
        model = checked(nn.Linear(4, width), y, loss=negative_log_likelihood)
        before = model.evaluate((X, y))["loss"]
        wanted = negative_log_likelihood(output_of(model), torch.tensor(y).float())
        assert before == pytest.approx(float(wanted), rel=1e-5)
        assert model.metrics[0] == "loss"
        fit(model, (X, y), epochs=20, lr=0.01)
        assert model.evaluate((X, y))["loss"] < before

    def test_cox_compares_rows_of_a_batch(self) -> None:
        def partial_likelihood(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            order = label[:, 0].argsort(descending=True)
            risk, event = output[order, 0], label[order, 1]
            return -((risk - risk.logcumsumexp(0)) * event).sum() / event.sum().clamp_min(1)

        y = np.stack([np.abs(X[:, 0]), X[:, 1] > 0], axis=1)
        model = checked(nn.Linear(4, 1), y, loss=partial_likelihood)
        wanted = partial_likelihood(output_of(model), torch.tensor(y))
        assert model.evaluate((X, y))["loss"] == pytest.approx(float(wanted), rel=1e-5)
