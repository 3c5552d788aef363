"""Audits of runs whose aggregator is given sums of updates alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")

import fusion_nb
from fusion_nb import Run
from fusion_nb.core.types import Update
from fusion_nb.runs.audit.report import Audit, Finding
from fusion_nb.runs.audit.updates import observe, trained_on

RUN = {"parties": 4, "rounds": 1, "lr": 0.1}


def finding(found: Audit, attack: str, observer: str = "the aggregator") -> Finding:
    return next(f for f in found.findings if (f.attack, f.observer) == (attack, observer))


@pytest.fixture
def trained(run_of: Callable[..., Run]) -> Callable[..., Run]:
    import torch
    from torch import nn

    def make(**options: Any) -> Run:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            module = nn.Sequential(nn.Linear(5, 3))
        return run_of(module, **RUN | options).start().wait()

    return make


@pytest.mark.parametrize("fusion", ["fedavg", "iter_avg", "fedprox", "fedavgm"])
def test_a_sum_hides_the_row_that_an_update_gives_away(
    trained: Callable[..., Run], fusion: str
) -> None:
    plain = fusion_nb.audit(trained(fusion=fusion))
    masked = fusion_nb.audit(trained(fusion=fusion, secure="masks"))
    assert finding(plain, "row").value < 1e-5
    assert finding(masked, "row").value > 0.05
    assert finding(masked, "label").value < finding(plain, "label").value
    assert "from the sum of 4 parties' updates, of as many rows each" in str(masked)
    assert "the sum" not in str(plain)


def test_it_says_what_is_hidden_and_what_is_not(trained: Callable[..., Run]) -> None:
    found = fusion_nb.audit(trained(secure="masks:bits=20"))
    assert any("no update of one party" in note for note in found.notes)
    assert any("not hidden are who takes part" in note for note in found.notes)
    assert not any("not measured" in note for note in found.notes)
    assert "masks" not in str(fusion_nb.audit(trained()))


def test_several_rows_are_counted_in_the_sum(trained: Callable[..., Run]) -> None:
    found = fusion_nb.audit(trained(secure="masks"), party="party 3", rows=3)
    assert finding(found, "rows").value < 1
    assert "the sum of 4 parties" in finding(found, "rows").sentence


@pytest.mark.parametrize(("fraction", "count"), [(0.75, 3), (1.0, 4)])
def test_the_sum_is_that_of_a_round(
    trained: Callable[..., Run], fraction: float, count: int
) -> None:
    found = fusion_nb.audit(trained(secure="masks", fraction=fraction))
    assert f"the sum of {count} parties" in finding(found, "row").sentence


def test_with_central_privacy_the_aggregator_has_a_sum_as_well(
    trained: Callable[..., Run],
) -> None:
    pytest.importorskip("dp_accounting")
    found = fusion_nb.audit(trained(secure="masks", privacy="central:clip=1,noise=1"))
    assert "the sum of 4" in finding(found, "row").sentence
    assert "from its update" in finding(found, "row", "who sees the fused model").sentence
    assert "sees single updates" not in str(found)


def test_the_attack_sees_the_mean_of_all_updates(trained: Callable[..., Run]) -> None:
    run = trained(secure="masks")
    federation = run.federation
    first, *others = federation.parties
    updates: list[Update] = [trained_on(federation, party, [0]) for party in (first, *others)]
    seen = observe(federation, first, [0], beside=updates[1:]).after["the aggregator"]
    for name, array in seen.items():
        mean = np.mean([update.weights[name] for update in updates], axis=0)
        assert np.allclose(array, mean, atol=1e-6)
