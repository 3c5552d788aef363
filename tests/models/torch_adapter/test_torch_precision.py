"""Reduced precision, and evaluation on several cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fusion_nb import Run, RunSpec
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import OptionError
from fusion_nb.models.torch.adapter import TorchModel


class Viewing(nn.Module):
    """A network as people write it, whose forward is no chain of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.fc1(x.view(x.size(0), -1)))
        return F.log_softmax(self.fc2(x), dim=1)


class Normed(nn.Sequential):
    """A network with batch normalization."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make()


def finished(rows: Any, model: Any, **options: Any) -> Run:
    given = {"parties": 5, "lr": 0.1, "batch_size": 8, "split": "dirichlet:alpha=1", **options}
    spec = RunSpec(**{"data": "data", "rounds": 3, **given})
    return Run(spec, {"model": model, "data": rows}).start().wait()


class TestPrecision:
    def test_bf16_trains_and_its_weights_stay_float32(self, rows: Any) -> None:
        run = finished(rows, seeded(Viewing), precision="bf16", rounds=8)
        exact = finished(rows, seeded(Viewing), rounds=8)
        assert run.records[-1].metrics["accuracy"] > 0.85
        assert run.records[-1].metrics != exact.records[-1].metrics
        assert {array.dtype for array in run.model.state_dict().values()} == {torch.float32}
        assert any("precision: bf16" in note for note in run.notes)
        assert "bf16" in run.spec.to_cell()

    def test_the_memory_format_of_images_does_not_reach_the_weights(self) -> None:
        rng = np.random.default_rng(0)
        images = rng.random((60, 1, 8, 8), dtype=np.float32), np.arange(60) % 3
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        run = finished(images, module, precision="bf16", split="iid", parties=2)
        assert run.model.state_dict()["0.weight"].shape == (4, 1, 3, 3)
        assert run.model.state_dict()["0.weight"].is_contiguous()

    def test_models_and_names_that_do_not_fit_are_refused(self, rows: Any) -> None:
        with pytest.raises(OptionError, match="precision='bf16' with a model that is not float32"):
            finished(rows, Viewing().double(), precision="bf16")
        with pytest.raises(OptionError, match="did you mean 'bf16'"):
            finished(rows, Viewing(), precision="bf61")


class TestEvaluation:
    def test_several_cores_give_the_metrics_of_one(self) -> None:
        rng = np.random.default_rng(0)
        rows = rng.random((3000, 5), dtype=np.float32), np.arange(3000) % 3
        model = TorchModel(seeded(Normed))
        model.check(rows, DataSchema.of(rows), lr=0.1, optimizer="sgd")
        model.num_cores = 1
        alone = model.evaluate(rows)
        model.num_cores = 3
        assert model.evaluate(rows) == alone

    def test_a_model_that_draws_when_it_is_evaluated_repeats(self) -> None:
        class Draws(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(F.dropout(x, 0.5, training=True))

        rng = np.random.default_rng(0)
        rows = rng.random((3000, 5), dtype=np.float32), np.arange(3000) % 3
        model = TorchModel(seeded(Draws))
        model.check(rows, DataSchema.of(rows), lr=0.1, optimizer="sgd")
        assert model.evaluate(rows) == model.evaluate(rows)
