"""Batches of one row: a last batch, a small party, a small test set, a batch size of 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.errors import ModelError

IMAGES = np.random.default_rng(1).normal(size=(20, 1, 6, 6)).astype(np.float32)


class Applying(nn.Module):
    """A linear layer, and a function of its output."""

    def __init__(self, width: int, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, width), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x))


class Middle(nn.Module):
    """squeeze() before a layer that takes rows with or without their axis."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(1, 3, 4), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x.unsqueeze(1)).squeeze())


SQUEEZING: list[tuple[nn.Module, np.ndarray]] = [
    (Applying(1, lambda out: out.squeeze()), CLASSES % 2),
    (Applying(1, lambda out: torch.sigmoid(out).squeeze()), CLASSES % 2),
    (Applying(1, lambda out: out.squeeze()), X[:, 0]),
    (Applying(3, lambda out: out.squeeze()), CLASSES),
    (Applying(3, lambda out: F.log_softmax(out.squeeze(), -1)), CLASSES),
    (Middle(), CLASSES),
]


class TestSqueeze:
    @pytest.mark.parametrize(("module", "y"), SQUEEZING)
    def test_a_row_alone_is_measured_as_among_others(self, module: nn.Module, y: Any) -> None:
        adapter = checked(module, y)
        rows = [adapter.evaluate((X[i : i + 1], y[i : i + 1])) for i in range(len(y))]
        together = adapter.evaluate((X, y))
        for name, value in together.items():
            assert np.mean([row[name] for row in rows]) == pytest.approx(value, abs=1e-5)

    @pytest.mark.parametrize(("module", "y"), SQUEEZING)
    def test_a_last_batch_of_one_row_is_trained(self, module: nn.Module, y: Any) -> None:
        result = fit(checked(module, y), (X[:17], y[:17]), batch_size=8)
        assert result.num_steps == 3
        assert np.isfinite(result.metrics["loss"])

    def test_a_wrong_axis_for_one_row_is_evaluated_beside_a_copy(self) -> None:
        module = Applying(3, lambda out: F.log_softmax(out.squeeze(), dim=1))
        adapter = checked(module)
        assert adapter.min_rows == 2
        alone = adapter.evaluate((X[:1], CLASSES[:1]))["loss"]
        with torch.no_grad():
            wanted = F.nll_loss(module(torch.tensor(X)), torch.tensor(CLASSES), reduction="none")
        assert alone == pytest.approx(float(wanted[0]), abs=1e-5)
        assert fit(adapter, (X[:17], CLASSES[:17]), batch_size=8).num_steps == 2

    def test_a_model_that_takes_no_row_alone_is_refused(self) -> None:
        def halves(out: Tensor) -> Tensor:
            if len(out) < 5:
                raise ValueError("too few rows")
            return out

        with pytest.raises(ModelError, match=r"does not take one row alone.*too few rows"):
            checked(Applying(3, halves))

    def test_leftovers_in_training_and_test_rows_end_well(self) -> None:
        x = np.random.default_rng(0).normal(size=(194, 4)).astype(np.float32)
        y = (x[:, 0] > 0).astype(int)
        data = (x[:65], y[:65]), (x[65:], y[65:])  # batches of 32, 32 and 1; of 128 and 1
        run = fusion_nb.federate(SQUEEZING[0][0], data, rounds=1, parties=1)
        assert 0 <= run.history.last()["accuracy"] <= 1


def norm_1d() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def norm_of_one_pixel() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 6), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))


def norm_of_pixels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))


class TestBatchNorm:
    @pytest.mark.parametrize("make", [norm_1d, norm_of_one_pixel])
    def test_a_batch_size_of_1_is_refused_before_training(self, make: Any) -> None:
        with pytest.raises(ModelError, match="can't be trained on a batch of fewer than 2") as said:
            fusion_nb.federate(make(), (IMAGES, np.arange(20) % 3), rounds=1, batch_size=1)
        assert "batch_size=1" in said.value.message

    @pytest.mark.parametrize("make", [norm_1d, norm_of_one_pixel])
    def test_a_party_of_one_row_is_refused_before_training(self, make: Any) -> None:
        y = np.arange(20) % 3
        parties = [(IMAGES[:1], y[:1]), (IMAGES[1:], y[1:])]
        with pytest.raises(ModelError, match="fewer than the 2 training rows"):
            fusion_nb.federate(make(), (dict(enumerate(parties)), (IMAGES, y)), rounds=1)

    def test_one_image_of_several_pixels_trains(self) -> None:
        y = np.arange(20) % 3
        adapter = checked(norm_of_pixels(), y, IMAGES)
        assert adapter.min_rows == 1
        for size in (1, 8):
            result = fit(adapter.clone(), (IMAGES[:1], y[:1]), batch_size=size)
            assert np.isfinite(result.metrics["loss"])

    @pytest.mark.parametrize("count", [9, 17, 25])
    def test_a_single_row_at_the_end_joins_the_batch_before(self, count: int) -> None:
        adapter = checked(norm_1d(), np.arange(20) % 3, IMAGES)
        images = np.concatenate([IMAGES, IMAGES])[:count]
        result = fit(adapter, (images, np.arange(count) % 3), batch_size=8)
        assert result.num_steps == count // 8
