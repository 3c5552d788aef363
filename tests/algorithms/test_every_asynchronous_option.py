"""Determinism and resume of asynchronous runs in simulated time, for every option that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fusion_nb
from fusion_nb.core import arithmetic
from fusion_nb.core.builtin import BUILTIN

pytestmark = pytest.mark.slow

FUSIONS = [
    "fedbuff",
    "fedbuff:buffer=1",
    "fedbuff:buffer=3,concurrency=5",
    "fedbuff:lr=0.5",
    "fedbuff:staleness=constant",
    "fedbuff:staleness=hinge,a=2,b=1",
    "fedbuff:staleness=polynomial,a=2,time=simulated",
    "fedasync",
    "fedasync:alpha=0.3,concurrency=3",
    "fedasync:buffer=2,mu=0.1",
    "fedasync:staleness=constant",
    "fedasync:staleness=hinge,a=2,b=1",
]
#: Devices and lines with the least that they need.
DEVICES = {
    "classes": "classes:0.5x1/0.5x4",
    "same": "same:factor=2",
    "lognormal": "lognormal:per=trip",
    "half_normal": "half_normal:watts=3",
}
NETWORKS = {"own": "own:down=1,up=1"}
OTHERS = [
    {"fraction": 0.5},
    {"dropout": 0.3},
    {"local_steps": 3},
    {"keep_optimizer": True, "optimizer": "adam", "lr": 0.01},
    {"lr_schedule": "exponential"},
    {"evaluate_every": 2},
    {"evaluate_rows": 2},
    {"adversary": "label_flip"},
    {"baseline": "central,local"},
    {"report": "noised:noise=0.1"},
    {"personal": "finetune"},
    {"roles": "party 8=evaluate"},
    {"changes": "3:epochs=3"},
    {"engine": "vectorized"},
]


def run(net: Any, rows: Any, rounds: int, folder: str = "", **options: Any) -> Any:
    given = {
        "parties": 8,
        "lr": 0.1,
        "fusion": "fedbuff:buffer=2",
        "devices": "half_normal",
        "step_seconds": 0.1,
        "engine": "local",
        **options,
    }
    return fusion_nb.federate(net(5, 3), rows, rounds=rounds, checkpoint=folder or "off", **given)


def check(net: Any, rows: Any, folder: Path, **options: Any) -> None:
    """Check that a run has the same curve again, and in two parts."""
    whole, again = (run(net, rows, 6, **options) for _ in range(2))
    saved = str(folder / "saved")
    run(net, rows, 3, saved, **options)
    resumed = fusion_nb.resume(saved, model=net(5, 3), data=rows).more(3).wait()
    for other in (again, resumed):
        assert [r.trips for r in whole.history] == [r.trips for r in other.history]
        assert [r.cohort for r in whole.history] == [r.cohort for r in other.history]
        assert whole.history["train_loss"] == other.history["train_loss"]
        assert arithmetic.equal(whole.weights, other.weights)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_of_a_fusion(net: Any, rows: Any, tmp_path: Path, fusion: str) -> None:
    check(net, rows, tmp_path, fusion=fusion)


@pytest.mark.parametrize("name", sorted({*BUILTIN["devices"]} - {"trace"}))
def test_of_devices(net: Any, rows: Any, tmp_path: Path, name: str) -> None:
    check(net, rows, tmp_path, devices=DEVICES.get(name, name))


@pytest.mark.parametrize("name", sorted(BUILTIN["networks"]))
def test_of_lines(net: Any, rows: Any, tmp_path: Path, name: str) -> None:
    check(net, rows, tmp_path, network=NETWORKS.get(name, name))


@pytest.mark.parametrize("options", OTHERS, ids=lambda options: next(iter(options)))
def test_with_another_option(net: Any, rows: Any, tmp_path: Path, options: Any) -> None:
    check(net, rows, tmp_path, **options)
