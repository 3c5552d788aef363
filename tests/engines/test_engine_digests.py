"""The digests of a run's curve on all engines, as one table: `pytest -m "" -s` of this file shows
it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from engine_runs import Viewing, curve, flat, seeded

from fusion_nb.core import registry
from fusion_nb.engines import ray_cluster

#: Engines that must agree to the last digit, and those that add up in another order: they agree
#: among each other, whatever the number of workers.
EXACT = (
    "local:workers=1",
    "local:workers=2",
    "process:workers=2",
    "ray:workers=2",
    "flower:nodes=2",
)
STACKED = ("vectorized:workers=1", "vectorized:workers=2")
CASES: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "scaffold": {"fusion": "scaffold", "baseline": "local"},
    "a model for each party": {"personal": "ditto", "fraction": 0.6},
    "kept optimizers": {"optimizer": "sgd:momentum=0.9", "keep_optimizer": True},
}


@pytest.fixture(scope="module", autouse=True)
def _kept_ray() -> Iterator[None]:
    """Keep one Ray for all runs, where it is installed: each would start its own."""
    if registry.missing_package("engines", "ray"):
        yield
        return
    cluster = ray_cluster.join("")
    yield
    ray_cluster.leave(cluster)


def digest(engine: str, rows: Any, options: dict[str, Any]) -> tuple[str, list[float]]:
    """The first letters of the SHA-256 of all metrics, and the metrics."""
    found = curve(engine, rows, seeded(Viewing), parties=6, split="iid", **options)
    return hashlib.sha256(repr(found).encode()).hexdigest()[:12], flat(found)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("case", CASES)
def test_one_curve_on_all_engines(case: str, rows: Any) -> None:
    installed = [
        engine
        for engine in EXACT
        if not registry.missing_package("engines", registry.parse(engine)[0])
    ]
    stacked = () if "keep_optimizer" in CASES[case] else STACKED
    found = {engine: digest(engine, rows, CASES[case]) for engine in (*installed, *stacked)}
    sys.stdout.write(f"\n{case}\n")
    sys.stdout.writelines(f"  {engine:20} {value}\n" for engine, (value, _) in found.items())
    exact = found[EXACT[0]]
    assert {found[engine][0] for engine in installed} == {exact[0]}
    assert len({found[engine][0] for engine in stacked}) <= 1
    for engine in stacked:
        assert found[engine][1] == pytest.approx(exact[1], rel=1e-4, abs=1e-6)
