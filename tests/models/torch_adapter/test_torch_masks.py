"""Buffers that hold infinities, such as causal masks, stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.errors import ModelError

FUSIONS = [
    "fedavg", "fedprox:mu=0.1", "scaffold", "feddyn:alpha=0.1", "fednova", "fedadam", "fedavgm",
    "median", "krum:f=0", "geometric_median", "centered_clip", "trimmed_mean:beta=0.34", "qfedavg",
    "fda:theta=0.1", "cmfl",
]  # fmt: skip


class Masked(nn.Module):
    """A model with a mask of -inf, which keeps a number out of a softmax."""

    def __init__(self, value: float = float("-inf")) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("mask", torch.tensor([0.0, 0.0, 0.0, value]))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.softmax(x - self.mask.abs(), 1))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_mask_is_kept_by_every_fusion(fusion: str) -> None:
    run = fusion_nb.federate(Masked(), (X, CLASSES), rounds=2, parties=3, fusion=fusion)
    assert torch.equal(run.model.mask, Masked().mask)
    assert bool(torch.isfinite(run.model.layer.weight).all())
    assert not torch.equal(run.model.layer.weight, Masked().layer.weight)


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_a_mask_leaves_with_the_model(tmp_path: Path, value: float) -> None:
    adapter = checked(Masked(value))
    weights = fit(adapter.clone(), (X, CLASSES)).weights
    adapter.save(tmp_path / "model.pt", weights, "pt")
    saved = torch.load(tmp_path / "model.pt")
    assert saved["mask"][-1] == value
    assert list(saved) == list(Masked(value).state_dict())
    again = checked(adapter.native(weights))
    assert np.array_equal(again.get_weights()["layer.weight"], weights["layer.weight"])


def test_a_run_with_a_mask_is_resumed(tmp_path: Path) -> None:
    options: dict[str, Any] = {"parties": 2, "seed": 3}
    model, data = Masked(), (X, CLASSES)
    whole = fusion_nb.federate(model, data, rounds=3, **options)
    fusion_nb.federate(model, data, rounds=2, checkpoint=str(tmp_path / "kept"), **options)
    run = fusion_nb.resume(str(tmp_path / "kept"), model=model, data=data)
    run.more(rounds=1).wait()
    assert run.history.last()["loss"] == whole.history.last()["loss"]
    assert torch.equal(run.model.mask, model.mask)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("0.layer.bias", float("nan")),
        ("0.layer.bias", float("inf")),
        ("1.running_mean", float("nan")),
        ("1.running_mean", float("inf")),
        ("0.mask", float("nan")),
    ],
)
def test_other_entries_must_be_finite(place: str, value: float) -> None:
    model = nn.Sequential(Masked(), nn.BatchNorm1d(3))
    with torch.no_grad():
        model.state_dict()[place][0] = value
    with pytest.raises(ModelError, match="not finite"):
        fusion_nb.federate(model, (X, CLASSES), rounds=1)
