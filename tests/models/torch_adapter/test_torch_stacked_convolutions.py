"""Convolutions of a stack as products of matrices: the numbers are those of PyTorch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fusion_nb.models.torch.vectorized import convolutions
from fusion_nb.models.torch.vectorized.convolutions import StackedConvolutions

FORMS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"stride": 2},
    {"stride": (2, 3), "kernel_size": (3, 2)},
    {"padding": 1},
    {"padding": (0, 2), "stride": 2},
    {"dilation": 2},
    {"dilation": (1, 2), "stride": (3, 1), "padding": 1, "kernel_size": (2, 3)},
    {"kernel_size": 1},
    {"groups": 2},
    {"padding": "same"},
    {"padding": 1, "padding_mode": "reflect"},
]


def gradients(module: nn.Module, stack: bool) -> dict[str, Tensor]:
    """Return the gradients of four copies of a module, by weights and by rows."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 2, 11, 9, dtype=torch.float64)
    weights = {n: torch.randn(4, *p.shape, dtype=p.dtype) for n, p in module.named_parameters()}

    def loss(given: dict[str, Tensor], x: Tensor) -> Tensor:
        if not stack:
            return functional_call(module, given, (x,)).square().sum()
        with StackedConvolutions(1000):
            return functional_call(module, given, (x,)).square().sum()

    by_weights, by_rows = vmap(grad(loss, argnums=(0, 1)))(weights, x)
    return {**by_weights, "rows": by_rows}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_gradients_are_those_of_a_convolution(form: dict[str, Any]) -> None:
    first = nn.Conv2d(2, 4, **{"kernel_size": 3, **form})
    module = nn.Sequential(first, nn.Tanh(), nn.Conv2d(4, 3, 2)).double()
    torch.testing.assert_close(gradients(module, stack=True), gradients(module, stack=False))


@pytest.mark.parametrize(
    ("modules", "most", "is_product"),
    [(1000, 10**9, True), (1000, 1000, False), (10, 10**9, False)],
)
def test_a_small_stack_and_rows_that_take_too_much_room_stay_convolutions(
    modules: int, most: int, is_product: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "_MOST_BYTES", most)
    x = torch.zeros(3, 2, 11, 9, requires_grad=True)
    with StackedConvolutions(modules):
        found = nn.Conv2d(2, 4, 3, bias=False)(x)
    assert ("ConvolutionBackward" in type(found.grad_fn).__name__) is not is_product
