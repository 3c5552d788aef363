"""The sum of a pass's losses: the digits of PyTorch's own sum, in each type of number."""

from __future__ import annotations

import math

import pytest
import torch

from fusion_nb.models.torch.objectives.loss_sum import LossSum

CPU = torch.device("cpu")


@pytest.mark.parametrize("wide", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e30])
def test_it_has_the_digits_of_a_sum_of_tensors(
    wide: torch.dtype, kind: torch.dtype, scale: float
) -> None:
    losses = (torch.rand(500, generator=torch.Generator().manual_seed(1)) * scale).to(kind)
    total, found = torch.zeros((), dtype=wide), LossSum(wide, CPU)
    for count, loss in enumerate(losses, 1):
        total += loss * (count % 33 + 1)
        found.add(loss, count % 33 + 1)
    assert found.value == float(total)


def test_losses_of_several_types_are_one_sum() -> None:
    total, found = torch.zeros(()), LossSum(torch.float32, CPU)
    for loss in (torch.tensor(0.1), torch.tensor(0.7).double(), torch.tensor(0.3)):
        total += loss * 3
        found.add(loss, 3)
    assert found.value == float(total)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stays_without_a_warning(
    bad: float, recwarn: pytest.WarningsRecorder
) -> None:
    found = LossSum(torch.float32, CPU)
    for loss in (1.0, bad, -bad, 3e38):
        found.add(torch.tensor(loss), 10)
    assert not math.isfinite(found.value)
    assert not recwarn.list
