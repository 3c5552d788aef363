"""Hooks of parameters, such as those that clip gradients, act on the copies that are trained."""

from __future__ import annotations

from collections.abc import Callable

import cloudpickle
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.models.torch.adapter import TorchModel


def freezing(model: nn.Linear) -> None:
    model.weight.register_hook(torch.zeros_like)


def masking(model: nn.Linear) -> None:
    mask = torch.zeros(3, 4)
    model.weight.register_hook(lambda gradient: gradient * mask)


def by_itself(model: nn.Linear) -> None:
    weight = model.weight
    # Of the copy, the hook is given the copy's own weight.
    weight.register_hook(lambda gradient: gradient * 0 if weight.grad is None else gradient)


def afterwards(model: nn.Linear) -> None:
    def clear(weight: Tensor) -> None:
        assert weight.grad is not None
        weight.grad.zero_()

    model.weight.register_post_accumulate_grad_hook(clear)


HOOKS = [freezing, masking, by_itself, afterwards]


def hooked(register: Callable[[nn.Linear], None]) -> nn.Linear:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    register(model)
    return model


@pytest.mark.parametrize("register", HOOKS)
class TestHooks:
    def test_they_act_on_every_copy(self, register: Callable[[nn.Linear], None]) -> None:
        adapter = checked(hooked(register))
        sent: TorchModel = cloudpickle.loads(cloudpickle.dumps(adapter.clone()))
        for other in (adapter, adapter.clone(), adapter.clone().clone(), sent):
            before, result = other.get_weights(), fit(other, (X, CLASSES), epochs=2)
            assert np.array_equal(result.weights["weight"], before["weight"])
            assert not np.array_equal(result.weights["bias"], before["bias"])

    def test_the_users_own_model_keeps_its_hooks(
        self, register: Callable[[nn.Linear], None]
    ) -> None:
        model = hooked(register)
        fit(checked(model), (X, CLASSES))
        assert model.weight.grad is None
        model(torch.ones(1, 4)).sum().backward()
        assert torch.equal(model.weight.grad, torch.zeros(3, 4))

    def test_such_parties_are_not_trained_as_one(
        self, register: Callable[[nn.Linear], None]
    ) -> None:
        with pytest.raises(fusion_nb.errors.OptionError, match="its parameters have hooks"):
            fusion_nb.federate(
                hooked(register), (X, CLASSES), rounds=1, parties=2, engine="vectorized"
            )


def test_a_hook_of_a_frozen_parameter_is_left_out() -> None:
    model = nn.Linear(4, 3)
    model.bias.register_hook(torch.zeros_like)
    model.bias.requires_grad_(False)
    assert checked(model).get_weights()["bias"].shape == (3,)
