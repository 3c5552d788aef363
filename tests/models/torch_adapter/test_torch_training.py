"""Training of PyTorch models: the same as a plain PyTorch loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch_samples import CLASSES, X, checked, fit, plain_loop

from fusion_nb.core import arithmetic
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.torch import optimizers
from fusion_nb.models.torch.adapter import TorchModel


class TestTraining:
    @pytest.mark.parametrize(
        "optimizer", ["sgd:momentum=0.9", "optim.Adadelta", "torch.optim.Adam", "AdamW"]
    )
    def test_training_equals_a_plain_loop(self, optimizer: str) -> None:
        module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
        model = checked(module)
        fit(model, (X, CLASSES), epochs=2, batch_size=16, optimizer=optimizer, seed=5)

        kind = getattr(
            torch.optim, {"sgd:momentum=0.9": "SGD"}.get(optimizer, optimizer.rpartition(".")[2])
        )
        steps = kind(
            module.parameters(), lr=0.1, **({"momentum": 0.9} if "sgd" in optimizer else {})
        )
        # Dropout has another seed than the order of rows.
        plain_loop(module, steps, epochs=2, order=5, dropped=6)
        for mine, theirs in zip(model.module.parameters(), module.parameters(), strict=True):
            assert torch.equal(mine, theirs)

    def test_the_users_model_and_random_state_are_untouched(self) -> None:
        module = nn.Linear(4, 3)
        before, state = module.weight.clone(), torch.random.get_rng_state()
        model = checked(module)
        state = torch.random.get_rng_state()
        fit(model, (X, CLASSES))
        assert torch.equal(module.weight, before)
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_the_reported_loss_is_the_mean_over_rows(self) -> None:
        model = checked(nn.Linear(4, 3))
        before = model.evaluate((X, CLASSES))["loss"]
        assert fit(model, (X, CLASSES), lr=1e-12, batch_size=16).metrics["loss"] == pytest.approx(
            before, rel=1e-6
        )

    def test_a_dataset_gives_the_same_as_its_arrays(self) -> None:
        class Items(torch.utils.data.Dataset[Any]):
            def __len__(self) -> int:
                return 40

            def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
                return X[i], int(CLASSES[i])

        module = nn.Linear(4, 3)
        a, b = checked(module), checked(module)
        arrays, items = fit(a, (X, CLASSES)), fit(b, Items())
        assert arrays.metrics == items.metrics
        assert arithmetic.equal(arrays.weights, items.weights)
        assert a.evaluate((X, CLASSES)) == b.evaluate(Items())

    def test_batch_norm_takes_a_last_batch_of_one(self) -> None:
        model = checked(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
        assert np.isfinite(fit(model, (X[:33], CLASSES[:33]), batch_size=8).metrics["loss"])
        assert int(model.get_weights()["1.num_batches_tracked"]) == 4

    def test_frozen_layers_stay(self) -> None:
        module = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 3))
        model = checked(module)
        before = model.get_weights()
        fit(model, (X, CLASSES))
        after = model.get_weights()
        assert np.array_equal(before["0.weight"], after["0.weight"])
        assert not np.array_equal(before["1.weight"], after["1.weight"])

    def test_options_of_fusions_that_it_does_not_know_are_refused(self) -> None:
        with pytest.raises(OptionError, match="can't honour warmth"):
            fit(checked(nn.Linear(4, 3)), (X, CLASSES), warmth=0.1)

    def test_training_unchecked_is_refused(self) -> None:
        with pytest.raises(ModelError, match="not checked"):
            fit(TorchModel(nn.Linear(4, 3)), (X, CLASSES))


class TestOptimizers:
    @pytest.mark.parametrize(
        ("choice", "said"),
        [
            ("adamm", "did you mean 'adam'"),
            ("lbfgs", "no optimizer 'lbfgs'"),
            ("sgd:momentun=0.9", "did you mean 'momentum'"),
            ("sgd:momentum=-1", "can't be made"),
            ("sgd:momentum=lots", "can't be made"),
        ],
    )
    def test_a_wrong_optimizer_is_refused(self, choice: str, said: str) -> None:
        with pytest.raises(OptionError, match=said):
            optimizers.make(choice, nn.Linear(1, 1).parameters(), 0.1)

    def test_an_optimizer_class_of_the_users_is_used(self) -> None:
        class Mine(torch.optim.SGD):
            pass

        assert type(optimizers.make(Mine, nn.Linear(1, 1).parameters(), 0.1)) is Mine

    def test_options_reach_the_optimizer(self) -> None:
        made = optimizers.make(
            "sgd:momentum=0.9,weight_decay=1e-4,nesterov=true", nn.Linear(1, 1).parameters(), 0.2
        )
        group = made.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (
            0.2,
            0.9,
            1e-4,
            True,
        )


def test_a_model_that_keeps_a_tensor_from_evaluation_still_trains() -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.kept = nn.Linear(4, 3), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.kept is None or self.kept.shape != x.shape:
                self.kept = torch.ones_like(x)
            return self.layer(x * self.kept)

    model = checked(Keeping())
    model.evaluate((X, CLASSES))
    assert np.isfinite(fit(model, (X, CLASSES), batch_size=40).metrics["loss"])


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.ReLU())
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(checkpoint(self.body, x, use_reentrant=False))


def test_checkpointing_drops_the_same_units_in_the_backward_pass() -> None:
    module = Checkpointed()
    model = checked(module)
    assert not model.thread_safe, "PyTorch has one generator for all threads"
    fit(model, (X, CLASSES), batch_size=16, seed=5)

    plain_loop(module, torch.optim.SGD(module.parameters(), lr=0.1), epochs=1, order=5, dropped=5)
    for mine, theirs in zip(model.module.parameters(), module.parameters(), strict=True):
        assert torch.equal(mine, theirs)
