"""Copies of PyTorch models that Python's deepcopy refuses, or whose weights a wrapper renames."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch_samples import CLASSES, X, checked, fit

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.adapter import TorchModel


class Holding(nn.Module):
    """A model that holds any other thing."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.layer, self.held = nn.Linear(4, 3), held

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Keeping(nn.Module):
    """A model that keeps the features of its last pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.features = nn.Linear(4, 3), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.features = self.layer(x)
        return self.features


def kept_by_hook() -> nn.Module:
    model = nn.Linear(4, 3)
    model.register_forward_hook(lambda module, args, output: setattr(module, "kept", output))
    return model


def pruned() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def weight_normalised() -> nn.Module:
    return torch.nn.utils.weight_norm(nn.Linear(4, 3))


class TestRefusedByDeepcopy:
    @pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
    @pytest.mark.parametrize("make", [Keeping, kept_by_hook, pruned, weight_normalised])
    def test_tensors_with_gradients_are_copied_without_them(
        self, make: Callable[[], nn.Module]
    ) -> None:
        model = make()
        model(torch.zeros(2, 4))
        adapter = checked(model)
        before = adapter.get_weights()
        after = fit(adapter.clone(), (X, CLASSES)).weights
        assert any(not np.array_equal(before[name], after[name]) for name in before)
        assert all(p.grad is None for p in model.parameters())
        assert adapter.native(after)(torch.tensor(X)).shape == (40, 3)

    def test_pruned_weights_stay_zero(self) -> None:
        adapter = checked(pruned())
        native = adapter.native(fit(adapter, (X, CLASSES), epochs=2).weights)
        native(torch.tensor(X))
        assert int((native[0].weight == 0).sum()) == 16

    @pytest.mark.parametrize(
        "held", [threading.Lock(), threading.RLock(), threading.Event(), np], ids=lambda h: type(h)
    )
    def test_locks_are_made_anew_and_packages_shared(self, held: Any) -> None:
        model = Holding({"here": [held]})
        native = checked(model).clone().native(checked(model).get_weights())
        assert (native.held["here"][0] is held) == (held is np)

    @pytest.mark.parametrize(
        ("held", "named"),
        [
            (io.TextIOWrapper(io.BytesIO()), r"attribute 'held' is a TextIOWrapper"),
            ([1, (i for i in "ab")], r"attribute 'held\[1\]' is a generator"),
            ({"a": (i for i in "ab")}, r"attribute \"held\['a'\]\" is a generator"),
            (threading.local(), r"attribute 'held' is a _?local"),
        ],
    )
    def test_others_are_refused_by_name(self, held: Any, named: str) -> None:
        with pytest.raises(ModelError, match=named) as caught:
            TorchModel(nn.Sequential(nn.Linear(4, 3), Holding(held))[1])
        assert "\n" not in caught.value.message

    def test_a_copy_that_shares_parameters_is_refused(self) -> None:
        class Single(nn.Linear):
            def __deepcopy__(self, memo: Any) -> Single:
                return self

        with pytest.raises(ModelError, match="a copy of Single shares parameters with it"):
            TorchModel(Single(4, 3))


class TestWrappers:
    @pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda m: m])
    def test_weights_leave_under_the_names_of_the_model_inside(
        self, wrap: Callable[[nn.Module], nn.Module]
    ) -> None:
        adapter = checked(wrap(nn.Linear(4, 3)))
        assert set(adapter.get_weights()) == {"weight", "bias"}
        assert type(adapter.native(adapter.get_weights())) is nn.Linear

    def test_wrappers_may_be_nested(self) -> None:
        adapter = checked(nn.DataParallel(torch.compile(nn.Sequential(nn.Linear(4, 3)))))
        assert set(adapter.get_weights()) == {"0.weight", "0.bias"}

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_scripted_module_trains(self) -> None:
        adapter = checked(torch.jit.script(nn.Linear(4, 3)))
        before = adapter.get_weights()["weight"]
        after = fit(adapter.clone(), (X, CLASSES)).weights["weight"]
        assert not np.array_equal(before, after)
        assert np.array_equal(adapter.get_weights()["weight"], before)
