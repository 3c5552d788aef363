"""Steps that are recorded and replayed: fed with each batch, and done anew where they can't be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from fusion_nb.models.torch.vectorized.batches import StackedBatch
from fusion_nb.models.torch.vectorized.replay import ReplayedSteps


class Summing:
    """Adds each batch to its one entry, and counts its calls."""

    def __init__(self) -> None:
        self.total, self.calls = torch.zeros(2), 0

    @property
    def changed(self) -> Mapping[str, Tensor]:
        return {"total": self.total}

    def do(self, batch: StackedBatch) -> Tensor:
        self.calls += 1
        self.total += (batch.x.sum(2) * batch.shares).sum(1) + batch.y.sum(1)
        return self.total.clone()


def batches(count: int) -> list[StackedBatch]:
    rng = np.random.default_rng(0)
    return [
        StackedBatch(
            torch.from_numpy(rng.random((2, 3, 4))),
            torch.from_numpy(rng.integers(0, 9, (2, 3))),
            torch.from_numpy(rng.random((2, 3))),
            np.full(2, 3),
        )
        for _ in range(count)
    ]


def as_given(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return function


def refused(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("record", [as_given, refused])
def test_each_batch_counts_once(record: Callable[..., Callable[[], Tensor]]) -> None:
    plain, replayed = Summing(), ReplayedSteps(Summing(), record)
    for batch in batches(7):
        torch.testing.assert_close(replayed.do(batch), plain.do(batch), rtol=0, atol=0)
    torch.testing.assert_close(replayed.changed, plain.changed, rtol=0, atol=0)


def test_steps_are_recorded_once_and_after_those_that_make_an_optimizers_state() -> None:
    steps, recorded = Summing(), []

    def record(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        recorded.append(steps.calls)
        return function

    replayed = ReplayedSteps(steps, record)
    for batch in batches(5):
        replayed.do(batch)
    assert recorded == [2]
    assert steps.calls == 5


def test_the_first_batches_are_not_changed() -> None:
    given = batches(4)
    before = [batch.x.clone() for batch in given]
    replayed = ReplayedSteps(Summing(), as_given)
    for batch in given:
        replayed.do(batch)
    assert all(torch.equal(batch.x, x) for batch, x in zip(given, before, strict=True))
