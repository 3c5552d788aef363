"""Losses that change themselves, or that have parameters which are not the model's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.core.schema import DataSchema
from fusion_nb.models.torch.adapter import TorchModel

Loss = Callable[[Tensor, Tensor], Tensor]


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        return F.cross_entropy(output, target) * self.calls


class Average(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        self.mean = 0.5 * self.mean + output.detach().mean(0)
        return F.cross_entropy(output - self.mean, target)


class Trainer:
    def __init__(self) -> None:
        self.seen: list[float] = []

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        self.seen.append(1.0)
        return F.cross_entropy(output, target) * len(self.seen)


class OfBatches:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        self.calls += 1
        return F.cross_entropy(model(batch[0]), batch[1]) * self.calls


LOSSES: list[Callable[[], Any]] = [Counting, Average, lambda: Trainer().loss, OfBatches]


def notes_of(module: nn.Module, loss: Any = "") -> str:
    rows = (X, CLASSES)
    model = TorchModel(module, device="cpu", loss=loss)
    return "\n".join(model.check(rows, DataSchema.of(rows), lr=0.1, optimizer="sgd"))


@pytest.mark.parametrize("make", LOSSES)
class TestTurns:
    def test_a_turn_does_not_depend_on_the_one_before(self, make: Callable[[], Any]) -> None:
        adapter = checked(nn.Linear(4, 3), loss=make())
        start, fresh = adapter.get_weights(), adapter.clone()
        measured = adapter.evaluate((X, CLASSES))
        fit(adapter, (X[::-1].copy() * 3, CLASSES))
        adapter.set_weights(start)
        assert adapter.evaluate((X, CLASSES)) == measured
        again, alone = fit(adapter, (X, CLASSES)), fit(fresh, (X, CLASSES))
        assert all(np.array_equal(again.weights[n], w) for n, w in alone.weights.items())

    def test_it_is_said(self, make: Callable[[], Any]) -> None:
        assert "changes itself" in notes_of(nn.Linear(4, 3), make())

    def test_a_curve_is_the_same_with_any_number_of_workers(self, make: Callable[[], Any]) -> None:
        torch.manual_seed(0)
        model, loss = nn.Linear(4, 3), make()
        curves = [
            json.loads(
                fusion_nb.federate(
                    model, (X, CLASSES), loss=loss, rounds=2, parties=4, engine=engine
                ).history.to_json()
            )
            for engine in ("local:workers=1", "local:workers=2")
        ]
        found = [[record["metrics"] for record in curve] for curve in curves]
        assert found[0] == found[1]


def test_the_users_own_loss_is_not_changed() -> None:
    loss = Counting()
    fit(checked(nn.Linear(4, 3), loss=loss), (X, CLASSES))
    assert loss.calls == 0


class Shared(nn.Linear):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Shared.calls += self.training
        return super().forward(x) * Shared.calls


class Drawing(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + np.random.random())


def by_global() -> Loss:
    calls: list[int] = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        return F.cross_entropy(output, target) * len(calls)

    return loss


class TestOutside:
    @pytest.mark.parametrize(
        ("module", "loss"),
        [(Shared(4, 3), ""), (Drawing(4, 3), ""), (nn.Linear(4, 3), by_global())],
    )
    def test_state_that_parties_share_is_said(self, module: nn.Module, loss: Any) -> None:
        assert "the same rows gave another loss a second time" in notes_of(module, loss)

    @pytest.mark.parametrize(
        "module",
        [
            nn.Linear(4, 3),
            nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)),
            nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)),
            nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
        ],
    )
    def test_it_is_not_said_of_others(self, module: nn.Module) -> None:
        assert "warning" not in notes_of(module)


class Centres(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(3, 3))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + F.mse_loss(output, self.centres[target])


def by_closure() -> Loss:
    centres = nn.Parameter(torch.zeros(3, 3))
    return lambda output, target: F.cross_entropy(output @ centres, target)


def by_teacher() -> Any:
    teacher = nn.Linear(4, 3)
    return lambda model, batch: F.mse_loss(model(batch[0]), teacher(batch[0]))


class TestParameters:
    @pytest.mark.parametrize("make", [Centres, by_closure, by_teacher])
    def test_those_that_no_party_trains_are_said(self, make: Callable[[], Any]) -> None:
        assert "parameters that are not the model's" in notes_of(nn.Linear(4, 3), make())

    def test_frozen_ones_are_not(self) -> None:
        loss = Centres().requires_grad_(False)
        assert "warning" not in notes_of(nn.Linear(4, 3), loss)
