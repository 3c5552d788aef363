"""The engine of a run that names none: a function of its options, the model and sizes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb import RunSpec
from fusion_nb.engines.local import LocalEngine
from fusion_nb.engines.vectorized import VectorizedEngine
from fusion_nb.errors import OptionError
from fusion_nb.models.torch.vectorized import advice
from fusion_nb.runs.build import build, prepare


def wide(size: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, size), nn.ReLU(), nn.Linear(size, size), nn.Linear(size, 3))


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.2), nn.Linear(8, 3))


class Mixing(nn.Module):
    """It looks like a fully connected network, and its rows are not apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.view(1, -1).view(-1, 5).roll(1, 0) - x)


CASES: list[tuple[Callable[[], nn.Module], dict[str, Any], str, str]] = [
    (lambda: wide(8), {}, "vectorized", "several small networks train as one"),
    (lambda: wide(8), {"optimizer": "adam"}, "vectorized", "train as one"),
    (lambda: wide(8), {"engine": "auto"}, "vectorized", "train as one"),
    (lambda: wide(1000), {"batch_size": 60}, "local", "keeps a core busy alone"),
    (lambda: wide(8), {"keep_optimizer": True}, "local", "parties keep their optimizers"),
    (lambda: wide(8), {"precision": "bf16"}, "local", "it computes in bf16"),
    (dropping, {}, "local", "only fully connected networks gain"),
    (Mixing, {}, "local", "only fully connected networks gain"),
]


@pytest.mark.parametrize(("make", "options", "engine", "reason"), CASES)
def test_one_note_says_what_is_chosen_and_why(
    rows: Any, make: Callable[[], nn.Module], options: dict[str, Any], engine: str, reason: str
) -> None:
    spec = RunSpec(data="data", parties=8, lr=0.1, **options)
    found = prepare(spec, {"model": make(), "data": rows})
    kind = {"local": LocalEngine, "vectorized": VectorizedEngine}[engine]
    assert type(found.federation.network.engine.innermost) is kind
    (note,) = [note for note in found.notes if note.startswith("engine: ")]
    assert note.startswith(f"engine: {engine} (")
    assert reason in note


def test_few_parties_and_a_named_engine_are_left_as_they_are(rows: Any, net: Any) -> None:
    alone = prepare(RunSpec(data="data", parties=7, lr=0.1), {"model": net(), "data": rows})
    assert "engine: local (there are fewer than 8 parties)" in alone.notes
    named = prepare(RunSpec(data="data", engine="local"), {"model": net(), "data": rows})
    assert not [note for note in named.notes if note.startswith("engine: ")]


def test_without_greenlet_parties_are_not_stacked(
    rows: Any, net: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_nb.engines.auto.find_spec", lambda name: None)
    found = prepare(RunSpec(data="data", parties=8), {"model": net(), "data": rows})
    assert "engine: local (vectorized needs greenlet, which is not installed)" in found.notes


@pytest.mark.parametrize(("parties", "fraction"), [(8, 1.0), (9, 0.5), (20, 0.6)])
def test_the_default_curve_is_the_same_for_any_number_of_workers(
    rows: Any, net: Any, monkeypatch: pytest.MonkeyPatch, parties: int, fraction: float
) -> None:
    def curve(cores: int) -> Any:
        monkeypatch.setattr("fusion_nb.engines.local.num_cores", lambda: cores)
        spec = RunSpec(
            data="data", parties=parties, fraction=fraction, split="dirichlet:alpha=1", batch_size=4
        )
        federation = build(spec, {"model": net(), "data": rows})
        engine = federation.network.engine.innermost
        assert type(engine) is VectorizedEngine
        records = list(federation.rounds(2))
        federation.close()
        return [(r.metrics, r.party_metrics) for r in records], federation.weights

    (alone, first), (many, second) = curve(1), curve(5)
    assert alone == many
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("width", "drawback"), [(8, ""), (1000, "over a million numbers")])
def test_on_a_gpu_a_stack_is_as_large_as_memory_allows(width: int, drawback: str) -> None:
    module: Any = wide(width)
    setup: Any = SimpleNamespace(batches=SimpleNamespace(device=torch.device("cuda")))
    found = advice.of(module, setup, {"batch_size": 8}, [], is_dense=False)
    assert drawback in found.drawback
    assert bool(drawback) == bool(found.drawback)
    num_numbers = sum(parameter.numel() for parameter in module.parameters())
    assert found.size == found.most == (512 << 20) // (4 * num_numbers)


def test_a_stack_of_one_is_refused() -> None:
    with pytest.raises(OptionError, match="a stack of 1 party"):
        VectorizedEngine(stack=1)
