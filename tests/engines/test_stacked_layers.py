"""Layers that a stack of models trains as each model alone: dropout, statistics, embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import Drops, Normed, Viewing, curve, finished, flat, images, seeded
from torch import nn
from torch.nn import functional as F

from fusion_nb import RunSpec
from fusion_nb.errors import OptionError
from fusion_nb.runs.build import build


def words(count: int = 120) -> Any:
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    return rng.integers(0, 4, (count, 6)) + 4 * y[:, None], y


class Reading(nn.Module):
    """A classifier of words by the mean of their vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors, self.last = nn.Embedding(12, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.vectors(x).mean(1))


# Without a bias: its gradient before batch normalization is rounding alone, of which Adam makes a
# whole step.
def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def deep() -> nn.Module:
    first = [
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout2d(0.3),
        nn.MaxPool2d(2),
    ]
    return nn.Sequential(*first, nn.Flatten(), nn.AlphaDropout(0.2), nn.Linear(16, 3))


def both(make: Callable[[], nn.Module], rows: Any, **options: Any) -> tuple[list[float], ...]:
    """Return the numbers of a run that trains parties alone, and of one that stacks them."""
    alone, stacked = (curve(e, rows, seeded(make), **options) for e in ("local", "vectorized"))
    return flat(alone), flat(stacked)


@pytest.mark.parametrize(
    ("make", "data"),
    [(Drops, None), (normed, None), (deep, images()), (Reading, words())],
    ids=["dropout", "batch normalization", "both in a cnn", "embedding"],
)
@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 7},
        {"optimizer": "adam", "lr": 0.01, "epochs": 2},
        {"optimizer": "sgd:momentum=0.9,weight_decay=0.01", "local_steps": 5},
    ],
    ids=str,
)
def test_a_layer_has_the_numbers_of_one_party_alone(
    rows: Any, make: Callable[[], nn.Module], data: Any, options: dict[str, Any]
) -> None:
    alone, stacked = both(make, data or rows, rounds=2, **options)
    assert stacked == pytest.approx(alone, rel=1e-4, abs=1e-5)


def test_statistics_and_counters_are_those_of_each_party(rows: Any) -> None:
    runs = [finished(e, rows, seeded(Normed), batch_size=7) for e in ("local", "vectorized")]
    alone, stacked = (run.model.state_dict() for run in runs)
    assert stacked["1.num_batches_tracked"] == alone["1.num_batches_tracked"] > 0
    assert torch.allclose(stacked["1.running_var"], alone["1.running_var"], rtol=1e-5)


@pytest.mark.parametrize("make", [Viewing, Drops, Normed])
def test_float64_models_keep_their_digits(rows: Any, make: Callable[[], nn.Module]) -> None:
    wide = rows[0].astype(np.float64), rows[1]
    alone, stacked = both(lambda: make().double(), wide, batch_size=7)
    assert stacked == pytest.approx(alone, rel=1e-11, abs=1e-12)


def test_whole_numbers_in_arrays_of_floats_stay_whole() -> None:
    x, y = words()
    alone, stacked = both(Reading, (x.astype(np.float32), y), rounds=2)
    assert stacked == pytest.approx(alone, rel=1e-4, abs=1e-5)


class Noisy(Viewing):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + 0.1 * torch.randn_like(x) if self.training else x)


class Rectified(Viewing):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.rrelu(self.fc1(x), training=self.training))


class Instances(Viewing):
    """Its forward branches on numbers, which a stack can't follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(-x if x.sum() > 0 else x)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Noisy, "draws other random numbers than dropout does"),
        (Rectified, "rrelu"),
        (Instances, "data-dependent"),
    ],
)
def test_other_layers_are_refused_in_words(
    rows: Any, make: Callable[[], nn.Module], reason: str
) -> None:
    spec = RunSpec(data="data", engine="vectorized", lr=0.1)
    with pytest.raises(OptionError, match=reason):
        build(spec, {"model": make(), "data": rows})
    assert curve("local", rows, seeded(make), rounds=1)


@pytest.mark.parametrize("number", [12, -1])
def test_numbers_without_a_vector_are_refused(number: int) -> None:
    x, y = words(300)
    x[150, 0] = number  # beside the party's own vectors lie those of another one
    spec = RunSpec(data="data", engine="vectorized", lr=0.1, parties=2, seed=3)
    with pytest.raises(OptionError, match="no vector"):
        build(spec, {"model": seeded(Reading), "data": (x, y)})


def test_parties_of_a_stack_that_raises_an_error_are_trained_alone(rows: Any) -> None:
    faults: list[str] = []

    class Failing(Viewing):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if faults:
                raise ValueError(faults.pop())
            return self.fc2(F.gelu(self.fc1(x)))

    def numbers(engine: str) -> Any:
        spec = RunSpec(data="data", engine=engine, lr=0.1, parties=3)
        federation = build(spec, {"model": seeded(Failing), "data": rows})
        if engine != "local":
            faults.append("too large for the memory")
        record = next(federation.rounds(1))
        federation.close()
        return record.metrics, record.failures

    assert numbers("vectorized:workers=1") == numbers("local")
    assert not faults
