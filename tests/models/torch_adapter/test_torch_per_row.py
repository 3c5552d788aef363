"""DP-SGD: gradients clipped row by row, batches by chance, and noise in every step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs
from torch import nn

from fusion_nb.core import arithmetic
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import TrainingResult
from fusion_nb.models.torch.adapter import TorchModel

needs("opacus")

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
Y = np.arange(12) % 3
NO_NOISE = {"clip": 0.2, "noise": 0.0}


def checked(module: nn.Module, x: np.ndarray = X, y: np.ndarray = Y, **options: Any) -> TorchModel:
    model = TorchModel(module, **options)
    model.check((x[:6], y[:6]), DataSchema.of((x, y)), lr=0.1, optimizer="sgd")
    return model


def linear(seed: int = 0, inputs: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(inputs, 3)


def fit(
    model: TorchModel, x: np.ndarray = X, y: np.ndarray = Y, *, seed: int = 0, **options: Any
) -> TrainingResult:
    defaults = {"epochs": 1, "batch_size": 12, "lr": 0.5, "optimizer": "sgd", "per_row": NO_NOISE}
    return model.fit((x, y), seed=seed, **defaults | options)


def clipped_sum(module: nn.Module, x: np.ndarray, y: np.ndarray, clip: float) -> dict[str, Any]:
    """The sum of the rows' clipped gradients, one row at a time."""
    total = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for row, label in zip(torch.from_numpy(x), torch.from_numpy(y), strict=True):
        loss = nn.functional.cross_entropy(module(row[None]), label[None])
        grads = torch.autograd.grad(loss, list(module.parameters()))
        norm = math.sqrt(sum(float((g**2).sum()) for g in grads))
        for name, g in zip(total, grads, strict=True):
            total[name] += g * min(1.0, clip / norm)
    return total


@pytest.mark.parametrize("clip", [0.2, 1.0, 1e6])
def test_each_row_is_clipped_by_itself(clip: float) -> None:
    module = linear()
    total = clipped_sum(module, X, Y, clip)
    found = fit(checked(module), per_row={"clip": clip, "noise": 0.0}).weights
    for name, p in module.named_parameters():
        assert np.allclose(found[name], (p - 0.5 * total[name] / 12).detach(), atol=1e-5)


class Turned(nn.Module):
    """A layer that hands on its rows with height and width exchanged, as a view."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(2, 3)


def conv(*before: nn.Module, **options: Any) -> nn.Module:
    layer = nn.Conv2d(3, 2, 2, 2, **options)
    return nn.Sequential(nn.Conv2d(1, 3, 2), *before, layer, nn.Flatten(), nn.LazyLinear(3))


IMAGES = np.random.default_rng(1).normal(size=(12, 1, 6, 7)).astype(np.float32)


@pytest.mark.parametrize(
    "make",
    [
        conv,
        lambda: conv(nn.ReLU(), nn.MaxPool2d(2, 1)),
        lambda: conv(Turned()),
        lambda: conv(nn.ChannelShuffle(3)),
        lambda: conv(padding=1),
        lambda: conv(nn.Conv2d(3, 3, 3, padding="same", groups=3)),
    ],
)
def test_gradients_of_images_do_not_depend_on_their_order_in_memory(make: Any) -> None:
    torch.manual_seed(0)
    module = make()
    module(torch.from_numpy(IMAGES))  # lazy layers take their shape
    total = clipped_sum(module, IMAGES, Y, 0.2)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    model = checked(module, IMAGES)
    assert model.per_row_obstacle() == ""
    found = fit(model, IMAGES).weights
    for name, start in before.items():
        assert np.allclose(found[name], start - 0.5 * total[name] / 12, atol=1e-5), name


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_a_layer_whose_gradients_opacus_gets_wrong_is_refused(mode: str) -> None:
    module = conv(padding=1, padding_mode=mode)
    reason = checked(module, IMAGES).per_row_obstacle()
    assert "another gradient of 1.weight" in reason


def test_a_row_of_any_size_moves_the_weights_by_no_more_than_its_clip() -> None:
    module = linear()
    wild = X.copy()
    wild[5] *= 1e6
    model = checked(module)
    moved = arithmetic.distance(fit(model, wild).weights, fit(checked(linear()), X).weights)
    assert 0 < moved <= 2 * 0.5 * 0.2 / 12 + 1e-6


def test_the_noise_has_the_promised_variance_for_every_number() -> None:
    x = np.zeros((12, 4000), np.float32)  # rows whose gradient for the weight matrix is 0
    module = linear(inputs=4000)
    before = module.weight.detach().numpy().copy()
    found = fit(checked(module, x), x, per_row={"clip": 0.5, "noise": 3.0}).weights["weight"]
    noise = (found - before).ravel() / (0.5 * 3.0 * 0.5 / 12)  # lr * noise * clip / batch
    assert noise.size == 12_000
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size)
    assert noise.var() == pytest.approx(1.0, abs=4 * math.sqrt(2 / noise.size))
    assert np.mean(np.abs(noise) < 1) == pytest.approx(0.6827, abs=0.02)


def test_a_step_without_rows_has_noise_too() -> None:
    result = fit(checked(linear()), batch_size=1, steps=3, per_row={"clip": 1.0, "noise": 1.0})
    assert result.num_steps == 3
    chance, steps = result.extras["per_row"]
    assert (chance, steps) == (1 / 12, 3)
    rng_free = [fit(checked(linear()), batch_size=1, steps=1, seed=s).weights for s in range(12)]
    still = [arithmetic.equal(w, checked(linear()).get_weights()) for w in rng_free]
    assert any(still)  # without noise, a step without rows changes nothing
    empty = still.index(True)
    noisy = fit(
        checked(linear()),
        batch_size=1,
        steps=1,
        seed=empty,
        per_row={"clip": 1.0, "noise": 1.0},
    )
    assert not arithmetic.equal(noisy.weights, checked(linear()).get_weights())


def test_batches_and_noise_are_a_function_of_the_seed() -> None:
    options = {"batch_size": 4, "epochs": 2, "per_row": {"clip": 1.0, "noise": 1.0}}
    first = fit(checked(linear()), **options).weights
    assert arithmetic.equal(first, fit(checked(linear()), **options).weights)
    assert not arithmetic.equal(first, fit(checked(linear()), seed=1, **options).weights)


def test_the_term_of_fedprox_is_added_after_the_noise() -> None:
    module = linear()
    anchor = {name: p.detach().numpy() + 1.0 for name, p in module.named_parameters()}
    plain = fit(checked(module)).weights
    held = fit(checked(linear()), mu=0.1, anchor=anchor).weights
    for name in plain:
        assert np.allclose(held[name], plain[name] + 0.5 * 0.1, atol=1e-6)


def test_nothing_is_left_on_the_module() -> None:
    layers = nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 5, 2), nn.Flatten()
    model = checked(nn.Sequential(*layers, nn.GroupNorm(1, 5), nn.ReLU(), nn.Linear(5, 3)))
    fit(model)
    assert not any(hasattr(p, "grad_sample") for p in model.module.parameters())
    assert not any(layer._forward_hooks for layer in model.module.modules())
    assert not any(layer._forward_pre_hooks for layer in model.module.modules())
    assert fit(model, per_row=None).metrics["loss"] > 0
    assert model.evaluate((X, Y))["loss"] > 0


@pytest.mark.parametrize("layer", [nn.Conv1d(1, 2, 3), nn.Identity()])
def test_the_loss_is_that_of_the_rows_that_were_drawn(layer: nn.Module) -> None:
    module = nn.Sequential(nn.Unflatten(1, (1, 4)), layer, nn.Flatten(), nn.LazyLinear(3))
    model = checked(module)
    expected = model.evaluate((X, Y))["loss"]
    assert fit(model).metrics["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"loss": nn.CrossEntropyLoss(reduction="sum")}, "a sum"),
        ({"loss": nn.CrossEntropyLoss(weight=torch.ones(3))}, "weights of classes"),
        ({"loss": lambda output, target: output.var()}, "whole batches"),
        ({"keep_optimizer": True}, "keep their optimizers"),
        ({"precision": "bf16"}, "bf16"),
    ],
)
def test_models_whose_rows_have_no_gradients_of_their_own(
    options: dict[str, Any], reason: str
) -> None:
    assert reason in checked(linear(), **options).per_row_obstacle()


def test_batch_normalization_mixes_rows() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    assert "BatchNorm" in checked(module).per_row_obstacle()
    assert checked(linear()).per_row_obstacle() == ""
