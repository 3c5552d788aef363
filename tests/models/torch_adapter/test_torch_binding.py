"""Losses, hooks and replaced methods that refer to the notebook's own model."""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Callable
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

from fusion_nb.errors import ModelError

Loss = Callable[[Tensor, Tensor], Tensor]


def penalty(model: nn.Module) -> Tensor:
    return 10 * sum((p.pow(2).sum() for p in model.parameters()), torch.zeros(()))


def by_closure(model: nn.Module) -> Loss:
    return lambda output, target: F.cross_entropy(output, target) + penalty(model)


def by_parameters(model: nn.Module) -> Loss:
    weights = list(model.parameters())

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + 10 * sum(w.pow(2).sum() for w in weights)

    return loss


def by_partial(model: nn.Module) -> Loss:
    def loss(held: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + penalty(held)

    return functools.partial(loss, model)


def by_default(model: nn.Module) -> Loss:
    def loss(output: Tensor, target: Tensor, held: nn.Module = model) -> Tensor:
        return F.cross_entropy(output, target) + penalty(held)

    return loss


class Holder:
    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + penalty(self.model)


class LossModule(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + penalty(self.model)


def by_method(model: nn.Module) -> Loss:
    return Holder(model).loss


def by_global(model: nn.Module) -> Loss:
    # As in a notebook, where the model is a global name, used by a function that the loss calls.
    code = """
def helper():
    return penalty(model)

def loss(output, target):
    return F.cross_entropy(output, target) + helper()
"""
    space: dict[str, Any] = {"model": model, "penalty": penalty, "F": F, "__name__": "__main__"}
    exec(code, space)
    return space["loss"]


LOSSES = [by_closure, by_parameters, by_partial, by_default, by_method, by_global, LossModule]


class TestLosses:
    @pytest.mark.parametrize("make", LOSSES)
    def test_a_penalty_acts_on_the_copy_that_is_trained(
        self, make: Callable[[nn.Module], Loss]
    ) -> None:
        torch.manual_seed(0)
        model = nn.Linear(4, 3)
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        adapter = checked(model, loss=make(model))
        plain = checked(model, loss=F.cross_entropy)
        for other in (adapter, adapter.clone(), adapter.clone().clone()):
            result = fit(other, (X, CLASSES), epochs=3, lr=0.02)
            free = fit(plain.clone(), (X, CLASSES), epochs=3, lr=0.02)
            norm = np.linalg.norm(result.weights["weight"])
            assert norm < 0.5 * np.linalg.norm(free.weights["weight"])
        assert all(p.grad is None for p in model.parameters())
        assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())

    def test_a_loss_that_cannot_be_bound_is_refused_by_name(self) -> None:
        model = nn.Linear(4, 3)

        class Hidden:
            held = model  # an attribute of a class, which others may share

            def __call__(self, output: Tensor, target: Tensor) -> Tensor:
                return F.cross_entropy(output, target) + penalty(self.held)

        mark = torch.ones(3, 4)
        model.weight.grad = mark
        with pytest.raises(ModelError, match=r"loss Hidden.*parameter 'weight' got a gradient"):
            checked(model, loss=Hidden())
        assert model.weight.grad is mark
        assert model.bias.grad is None

    def test_a_loss_that_does_not_refer_to_the_model_is_used_itself(self) -> None:
        calls = []

        def loss(output: Tensor, target: Tensor) -> Tensor:
            calls.append(len(output))
            return F.cross_entropy(output, target)

        adapter = checked(nn.Linear(4, 3), loss=loss)
        before = len(calls)
        fit(adapter.clone(), (X, CLASSES))
        assert len(calls) > before


class Features(nn.Linear):
    """A model that keeps the features of its last pass."""

    def forward(self, x: Tensor) -> Tensor:
        self.features = super().forward(x)
        return self.features


def test_a_loss_that_looks_at_kept_features_is_measured_alike_on_any_number_of_cores() -> None:
    model = Features(4, 3)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + model.features.pow(2).mean()

    model(torch.zeros(1, 4))
    x = np.random.default_rng(0).normal(size=(1600, 4)).astype(np.float32)
    rows = x * np.linspace(0, 5, 1600, dtype=np.float32)[:, None], np.arange(1600) % 3
    adapter = checked(model, loss=loss)
    found = []
    for adapter.num_cores in (1, 3):
        found.append(adapter.evaluate(rows)["loss"])
    with torch.no_grad():
        outputs = model(torch.tensor(rows[0]))
        wanted = F.cross_entropy(outputs, torch.tensor(rows[1])) + outputs.pow(2).mean()
    assert found[0] == found[1] == pytest.approx(float(wanted), rel=1e-3)


def by_replaced_forward() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3))
    model.forward = lambda x: 2 * model[0](x)  # type: ignore[method-assign]
    return model


def by_bound_forward() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3))
    model.forward = MethodType(lambda self, x: 2 * self[0](x), model)  # type: ignore[method-assign]
    return model


def by_hook() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    model[0].register_forward_hook(lambda module, args, output: output @ model[1].weight)
    return model


def by_pre_hook() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    model[1].register_forward_pre_hook(lambda module, args: (model[0](args[0]),))
    return model


class TestForward:
    @pytest.mark.parametrize("make", [by_replaced_forward, by_bound_forward, by_hook, by_pre_hook])
    def test_a_method_or_a_hook_acts_on_the_copy_that_is_trained(
        self, make: Callable[[], nn.Module]
    ) -> None:
        model = make()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        adapter = checked(model).clone()
        result = fit(adapter, (X, CLASSES), epochs=2)
        assert all(not np.array_equal(before[n].numpy(), w) for n, w in result.weights.items())
        native = adapter.native(result.weights)
        model.load_state_dict({name: torch.tensor(w) for name, w in result.weights.items()})
        assert torch.allclose(native(torch.tensor(X)), model(torch.tensor(X)))
        assert all(p.grad is None for p in model.parameters())

    def test_a_hook_of_a_class_attribute_is_refused(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))

        class Hook:
            held = model

            def __call__(self, module: Any, args: Any, output: Tensor) -> Tensor:
                return output @ self.held[1].weight

        model[0].register_forward_hook(Hook())
        with pytest.raises(ModelError, match="a hook or a replaced method uses the notebook's own"):
            checked(model)

    def test_a_changed_buffer_of_the_own_model_is_refused_and_restored(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

        class Hook:
            held = model

            def __call__(self, module: Any, args: Any, output: Tensor) -> Tensor:
                with torch.no_grad():
                    self.held[1](output)
                return output

        model[0].register_forward_hook(Hook())
        with pytest.raises(ModelError, match=r"changes the buffer '1\."):
            checked(model)
        assert bool((model[1].running_mean == 0).all())


class Stream(io.StringIO):
    """A stream that holds all variables of a notebook, as that of a kernel does, and is no copy."""

    def __init__(self, variables: dict[str, Any]) -> None:
        super().__init__()
        self.variables = variables

    def __copy__(self) -> None:
        raise AssertionError("it was copied")


def test_a_hook_that_writes_to_a_log_does_not_lead_to_the_notebook() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    log = logging.Logger("notebook")
    log.addHandler(logging.StreamHandler(Stream({"model": model})))
    told = []

    def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
        log.debug("a pass")
        told.append(layer)

    model[0].register_forward_hook(hook)
    adapter = checked(model)
    fit(adapter, (X, CLASSES))
    assert all(layer is not model[0] for layer in told)
