"""The engine that trains several parties' models as one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import (
    UNEVEN,
    Viewing,
    convolutional,
    curve,
    finished,
    flat,
    images,
    seeded,
)
from torch import nn

from fusion_nb import RunSpec
from fusion_nb.core.federation import Federation
from fusion_nb.core.schema import DataSchema
from fusion_nb.engines.vectorized import VectorizedEngine
from fusion_nb.errors import OptionError
from fusion_nb.models.torch.adapter import TorchModel
from fusion_nb.runs.build import build
from fusion_nb.runs.run import Run


class TestVectorized:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"epochs": 3},
            {"local_steps": 7},
            {"batch_size": 1000},
            {"optimizer": "sgd:momentum=0.9,nesterov=true"},
            {"optimizer": "adam", "lr": 0.01},
            {"optimizer": "adadelta", "lr": 1.0},
            {"optimizer": "adamw:weight_decay=0.1", "lr": 0.01},
            {"fusion": "fedprox:mu=0.5"},
            {"fusion": "scaffold"},
            {"fusion": "feddyn:alpha=0.1"},
            {"personal": "ditto"},
            {"personal": "apfl"},
            {"personal": "fedper:layers=2.*"},
            {"straggler": "0.5:epochs=uniform", "fusion": "fedprox:mu=0.1", "epochs": 4},
            {"dropout": 0.3},
            {"baseline": "central,local"},
        ],
        ids=str,
    )
    def test_it_gives_the_local_curve_except_for_rounding(
        self, rows: Any, net: Any, options: dict[str, Any]
    ) -> None:
        apart = flat(curve("local", rows, net(), **options))
        together = flat(curve("vectorized:stack=3", rows, net(), **options))
        assert together == pytest.approx(apart, rel=2e-3, abs=1e-4, nan_ok=True)

    @pytest.mark.parametrize(
        ("make", "data"),
        [
            (Viewing, None),
            (
                lambda: nn.Sequential(
                    nn.Linear(5, 8, bias=False), nn.Tanh(), nn.Linear(8, 3), nn.LogSoftmax(1)
                ),
                None,
            ),
            (lambda: nn.Sequential(nn.Linear(5, 3)), None),
            (
                lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ELU(), nn.Linear(8, 3)),
                None,
            ),
            (
                lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1)),
                None,
            ),
            (convolutional, images()),
            (lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1)), "numbers"),
            (lambda: nn.Sequential(nn.Linear(5, 8), nn.Sigmoid(), nn.Linear(8, 1)), "binary"),
            (lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double(), None),
        ],
    )
    def test_any_module_and_loss(self, rows: Any, make: Callable[[], nn.Module], data: Any) -> None:
        given = rows if data is None or isinstance(data, str) else data
        split = UNEVEN
        if data == "numbers":
            given, split = (rows[0], rows[0].sum(1)), "quantity:alpha=1"
        elif data == "binary":
            given = rows[0], (rows[1] > 0).astype(np.int64)
        options = {"lr": 0.02, "split": split, "parties": 4}
        apart = flat(curve("local", given, seeded(make), **options))
        together = flat(curve("vectorized", given, seeded(make), **options))
        assert together == pytest.approx(apart, rel=2e-3, abs=1e-4)

    def test_frozen_layers_stay(self, rows: Any, net: Any) -> None:
        model = net()
        model[0].requires_grad_(False)
        run = finished("vectorized", rows, model)
        assert torch.equal(run.model.state_dict()["0.weight"], model[0].weight)
        apart = finished("local", rows, model)
        assert torch.allclose(
            run.model.state_dict()["2.weight"], apart.model.state_dict()["2.weight"], atol=1e-5
        )

    def test_stacks_are_of_one_size_and_no_party_trains_alone(self, rows: Any, net: Any) -> None:
        sizes: list[int] = []

        class Counting(TorchModel):
            def train_batched(self, tasks: Any) -> Any:
                sizes.append(len(tasks))
                return super().train_batched(tasks)

        made = build(RunSpec(data="data", parties=9, lr=0.1), {"model": net(), "data": rows})
        model = Counting(net())
        model.check(rows, DataSchema.of(rows), lr=0.1, optimizer="sgd")
        engine = VectorizedEngine(stack=8, workers=1)
        federation = Federation(made.parties, model, made.fusion, engine, made.config)
        next(federation.rounds(1))
        federation.close()
        assert sorted(sizes) == [4, 5]

    @pytest.mark.parametrize(
        ("make", "options", "reason"),
        [
            (Viewing, {"keep_optimizer": True}, "parties keep their optimizers"),
            (Viewing, {"precision": "bf16"}, "it computes in bf16"),
            (Viewing, {"optimizer": "adafactor"}, "looks at a whole model"),
        ],
    )
    def test_a_model_that_cannot_be_stacked_is_refused_before_training(
        self, rows: Any, make: Callable[[], nn.Module], options: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(OptionError, match=reason) as caught:
            build(
                RunSpec(data="data", engine="vectorized", lr=0.1, **options),
                {"model": make(), "data": rows},
            )
        assert "--engine local" in caught.value.hint

    def test_a_module_that_mixes_its_rows_is_refused(self, rows: Any) -> None:
        class Mixing(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(x - x.mean(0))

        with pytest.raises(OptionError, match="other numbers"):
            build(
                RunSpec(data="data", engine="vectorized", batch_size=100),
                {"model": Mixing(), "data": rows},
            )

    def test_a_party_that_diverges_fails_alone(self, rows: Any, net: Any) -> None:
        x = rows[0].copy()
        x[:3] = 1e30
        spec = RunSpec(
            data="data", parties=4, lr=0.1, engine="vectorized", quorum=0.5, split="shards"
        )
        run = Run(spec, {"model": net(), "data": (x, rows[1])}).start().wait()
        assert run.failures
        assert all(len(record.failures) < 4 for record in run.records)
