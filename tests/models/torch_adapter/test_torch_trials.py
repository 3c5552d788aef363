"""The trial before training meets what training and evaluation will meet."""

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
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.torch.adapter import TorchModel

ROWS = (X[:, :1] * 2, X[:, 0] ** 2)


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last, self.first = nn.Linear(4, 3), None

    def forward(self, x: Tensor) -> Tensor:
        if self.first is None:
            self.first = nn.Linear(x.shape[1], 4)
        return self.last(self.first(x))


class GrowingList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 3)])

    def forward(self, x: Tensor) -> Tensor:
        if len(self.layers) == 1:
            self.layers.insert(0, nn.Linear(4, 4))
        return self.layers[1](self.layers[0](x))


class GrowingParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(x.shape[1]))
        return self.layer(x * self.scale)


class TestPartsMadeInForward:
    @pytest.mark.parametrize("kind", [Growing, GrowingList, GrowingParameter])
    @pytest.mark.parametrize("own", [False, True])
    def test_they_are_refused_by_name(self, kind: type[nn.Module], own: bool) -> None:
        def loss(model: nn.Module, batch: Any) -> Tensor:
            return F.cross_entropy(model(batch[0]), batch[1])

        with pytest.raises(ModelError, match=r"forward\(\) makes the parameters (first|layers|sc)"):
            checked(kind(), loss=loss if own else "")

    @pytest.mark.parametrize("kind", [Growing, GrowingList, GrowingParameter])
    def test_a_model_that_was_called_once_is_trained(self, kind: type[nn.Module]) -> None:
        module = kind()
        module(torch.tensor(X))
        result = fit(checked(module), (X, CLASSES))
        assert np.isfinite(result.metrics["loss"])


def test_lazy_batch_normalization_gets_its_size_from_the_rows() -> None:
    module = nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))
    adapter = checked(module)
    assert adapter.get_weights()["1.running_mean"].shape == (5,)
    assert np.isfinite(fit(adapter.clone(), (X, CLASSES)).metrics["loss"])


class Physics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        u = self.net(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return u + slope


class Half(Physics):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


def residual(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].detach().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return ((slope - 2 * x) ** 2).mean()


def attacked(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].detach().requires_grad_()
    (slope,) = torch.autograd.grad(F.mse_loss(model(x)[:, 0], batch[1]), x)
    return F.mse_loss(model(x + 0.1 * slope.sign())[:, 0], batch[1])


class TestGradientsOfRows:
    @pytest.mark.parametrize(
        ("module", "loss"),
        [
            (Physics(), ""),
            (Half(), nn.HuberLoss()),
            (nn.Linear(1, 1), residual),
            (nn.Linear(1, 1), attacked),
        ],
    )
    def test_models_and_losses_that_need_them_are_evaluated(
        self, module: nn.Module, loss: Any
    ) -> None:
        adapter = checked(module, ROWS[1], ROWS[0], loss=loss)
        before = adapter.evaluate(ROWS)["loss"]
        fit(adapter, ROWS, epochs=20, lr=0.02)
        assert adapter.evaluate(ROWS)["loss"] < before
        assert all(p.grad is None for p in module.parameters())

    def test_the_loss_of_an_evaluation_is_that_of_the_rows(self) -> None:
        module = Physics()
        adapter = checked(module, ROWS[1], ROWS[0])
        output = module(torch.tensor(ROWS[0])).detach()[:, 0]
        expected = float(F.mse_loss(output, torch.tensor(ROWS[1])))
        assert adapter.evaluate(ROWS)["loss"] == pytest.approx(expected, rel=1e-5)


class Deviation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((x - x.mean(0)) / x.std(0)) if self.training else self.layer(x)


def spread(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target) + F.relu(1 - output.std(0)).mean()


def pairs(model: nn.Module, batch: Any) -> Tensor:
    output = model(batch[0])
    others = ~torch.eye(len(output), dtype=torch.bool)
    return F.cross_entropy(output, batch[1]) + (output @ output.T)[others].mean()


class TestOneRowWithoutALoss:
    @pytest.mark.parametrize(
        ("make", "loss"),
        [(Deviation, ""), (lambda: nn.Linear(4, 3), spread), (lambda: nn.Linear(4, 3), pairs)],
    )
    def test_a_last_batch_of_one_row_is_joined_to_another(
        self, make: Callable[[], nn.Module], loss: Any
    ) -> None:
        rows = (X[:33], CLASSES[:33])
        adapter = checked(make(), loss=loss)
        assert adapter.min_rows == 2
        assert np.isfinite(fit(adapter, rows, batch_size=8).metrics["loss"])


class Manual(nn.Linear):
    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        raise AssertionError("not called")


class OfOptimizers(nn.Linear):
    def training_step(self, batch: Any, batch_idx: int, optimizer_idx: int) -> Tensor:
        raise AssertionError("not called")


class TestOwnOptimizers:
    @pytest.mark.parametrize("kind", [Manual, OfOptimizers])
    def test_a_training_step_with_them_is_refused(self, kind: type[nn.Linear]) -> None:
        with pytest.raises(ModelError, match=f"training_step of {kind.__name__} works with opt"):
            checked(kind(4, 3))

    @pytest.mark.parametrize("kind", [Manual, OfOptimizers])
    def test_with_a_loss_it_is_not_used(self, kind: type[nn.Linear]) -> None:
        adapter = checked(kind(4, 3), loss="cross_entropy")
        assert np.isfinite(fit(adapter, (X, CLASSES)).metrics["loss"])


def test_a_graph_of_fx_is_not_said_to_change() -> None:
    model = TorchModel(torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 3))), device="cpu")
    rows = (X, CLASSES)
    notes = model.check(rows, DataSchema.of(rows), lr=0.1, optimizer="sgd")
    assert not any("warning" in note for note in notes)


class Two(nn.Linear):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a + b)


@pytest.mark.parametrize("rows", [(X, X), {"a": X, "b": X}])
def test_inputs_are_not_called_columns_without_names(rows: Any) -> None:
    run = fusion_nb.federate(Two(4, 3), (rows, CLASSES), rounds=1, parties=2)
    assert not any("have no names" in note for note in run.notes)
