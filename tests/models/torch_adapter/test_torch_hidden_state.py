"""State that a module keeps outside its state dict starts equal at every party's turn."""

from __future__ import annotations

import collections
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.core.schema import DataSchema
from fusion_nb.models.torch.adapter import TorchModel


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.start()

    def start(self) -> None:
        """Set the state up."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.step(x) if self.training else self.layer(x)

    def step(self, x: Tensor) -> Any:
        raise NotImplementedError


class Counter(Base):
    def start(self) -> None:
        self.steps = 0

    def step(self, x: Tensor) -> Any:
        self.steps += 1
        return self.steps * x[:, :3]


class Average(Base):
    def start(self) -> None:
        self.register_buffer("mean", torch.zeros(4), persistent=False)

    def step(self, x: Tensor) -> Any:
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.mean[:3]


class First(Base):
    def start(self) -> None:
        self.centre: Any = None

    def step(self, x: Tensor) -> Any:
        if self.centre is None:
            self.centre = x.mean(0)
        return self.centre[:3]


class Listed(Base):
    def start(self) -> None:
        self.seen = {"rows": collections.deque([1.0], maxlen=5)}

    def step(self, x: Tensor) -> Any:
        self.seen["rows"].append(float(x.sum()))
        return sum(self.seen["rows"])


class Drawing(Base):
    def start(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def step(self, x: Tensor) -> Any:
        return torch.rand(len(x), 3, generator=self.generator)


class NumpyDrawing(Base):
    def start(self) -> None:
        self.rng = np.random.default_rng(0)

    def step(self, x: Tensor) -> Any:
        return torch.tensor(self.rng.normal(size=(len(x), 3)), dtype=x.dtype)


class Lowest(Base):
    def start(self) -> None:
        self.register_buffer("lowest", torch.tensor(float("inf")))

    def step(self, x: Tensor) -> Any:
        self.lowest = torch.minimum(self.lowest, x.min())
        return self.lowest


class Held:
    count = 0

    def __init__(self) -> None:
        self.count = 0


class InObject(Base):
    def start(self) -> None:
        self.held = Held()

    def step(self, x: Tensor) -> Any:
        self.held.count += 1
        return self.held.count * x[:, :3]


KINDS = [Counter, Average, First, Listed, Drawing, NumpyDrawing, Lowest, InObject]


class TestTurns:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_turn_does_not_depend_on_the_one_before(self, kind: type[Base]) -> None:
        adapter = checked(kind())
        start, fresh = adapter.get_weights(), adapter.clone()
        others = X[::-1].copy() * 3, CLASSES
        fit(adapter, others)
        adapter.set_weights(start)
        again, alone = fit(adapter, (X, CLASSES)), fit(fresh, (X, CLASSES))
        assert all(np.array_equal(again.weights[n], w) for n, w in alone.weights.items())

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_is_said_which_state_is_not_fused(self, kind: type[Base]) -> None:
        model = TorchModel(kind(), device="cpu")
        notes = notes_of(model)
        name = next(iter({*vars(kind()), *kind()._buffers} - {*vars(nn.Linear(1, 1))} - {"layer"}))
        assert any(f"training changes {name} of the model" in note for note in notes), notes

    @pytest.mark.parametrize("kind", [Counter, Average])
    def test_a_curve_is_the_same_with_any_number_of_workers(self, kind: type[Base]) -> None:
        torch.manual_seed(0)
        model = kind()
        curves = [
            fusion_nb.federate(
                model, (X, CLASSES), rounds=2, parties=4, engine=f"local:workers={count}"
            ).history.to_json()
            for count in (1, 2)
        ]
        found = [[record["metrics"] for record in json.loads(curve)] for curve in curves]
        assert found[0] == found[1]

    def test_evaluation_does_not_depend_on_the_training_before(self) -> None:
        class Shifted(Counter):
            def forward(self, x: Tensor) -> Tensor:
                if self.training:
                    self.steps += 1
                return self.layer(x) * (1 + self.steps)

        adapter = checked(Shifted())
        start = adapter.get_weights()
        before = adapter.evaluate((X, CLASSES))
        fit(adapter, (X, CLASSES))
        adapter.set_weights(start)
        assert adapter.evaluate((X, CLASSES)) == before
        assert adapter.native(start).steps == 0


class Keeping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.table: Any = None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.arange(3.0)
        self.features = self.layer(x) + self.table
        return self.features


@pytest.mark.parametrize(
    "module", [nn.Linear(4, 3), Keeping(), nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))]
)
def test_what_each_pass_makes_anew_is_not_restored(module: nn.Module) -> None:
    assert not any("training changes" in note for note in notes_of(TorchModel(module)))


def notes_of(model: TorchModel) -> list[str]:
    rows = (X, CLASSES)
    return model.check(rows, DataSchema.of(rows), lr=0.1, optimizer="sgd")
