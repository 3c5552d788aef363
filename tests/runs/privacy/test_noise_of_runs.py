"""The noise of private runs: the same when a run is repeated, and another one for another run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core.types import Weights

pytest.importorskip("torch")
CENTRAL, LOCAL, ROWS = (f"{kind}:clip=1,noise=50" for kind in ("central", "local", "rows"))
BASE = {"parties": 3, "rounds": 1, "lr": 0.1, "batch_size": 8}


def flat(weights: Weights) -> np.ndarray:
    return np.concatenate([weights[name].ravel() for name in sorted(weights)])


@pytest.fixture
def moved(net: Callable[..., Any], rows: Any) -> Callable[..., np.ndarray]:
    """A function that trains and returns what moved the weights: nearly all of it is noise."""
    module = net()

    def of(own: Any = rows, model: Any = module, **options: Any) -> np.ndarray:
        names = {"model": copy.deepcopy(model), "rows": own}
        run = Run(RunSpec(data="rows", **BASE | options), names)
        before = flat(run.weights)
        return flat(run.start().wait().weights) - before

    return of


def alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def needed(privacy: str) -> None:
    if privacy.startswith("rows"):
        pytest.importorskip("opacus")
        pytest.importorskip("dp_accounting")


@pytest.mark.parametrize("privacy", [CENTRAL, LOCAL, ROWS])
@pytest.mark.parametrize(
    "other", [{"lr": 0.2}, {"epochs": 2}, {"fusion": "fedprox:mu=0.5"}, {"batch_size": 16}]
)
def test_another_option_has_other_noise(
    moved: Callable[..., np.ndarray], privacy: str, other: Mapping[str, Any]
) -> None:
    needed(privacy)
    first = moved(privacy=privacy)
    assert np.array_equal(first, moved(privacy=privacy))
    assert alike(first, moved(privacy=privacy, **other)) < 0.6


@pytest.mark.parametrize("privacy", [CENTRAL, LOCAL, ROWS])
def test_another_row_has_other_noise(
    moved: Callable[..., np.ndarray], rows: Any, privacy: str
) -> None:
    needed(privacy)
    x, y = rows[0].copy(), rows[1]
    x[0] += 1
    assert alike(moved(privacy=privacy), moved((x, y), privacy=privacy)) < 0.6


def test_other_first_weights_have_other_noise(
    moved: Callable[..., np.ndarray], net: Callable[..., Any]
) -> None:
    import torch

    other = net()
    with torch.no_grad():
        next(iter(other.parameters())).add_(0.1)
    assert alike(moved(privacy=CENTRAL), moved(model=other, privacy=CENTRAL)) < 0.6


def test_another_clip_has_other_noise(moved: Callable[..., np.ndarray]) -> None:
    other = CENTRAL.replace("clip=1", "clip=2")
    assert alike(moved(privacy=CENTRAL), moved(privacy=other)) < 0.6


@pytest.mark.parametrize(
    "other",
    [
        {"engine": "local:workers=2"},
        {"evaluate_every": 2},
        {"personal": "finetune"},
        {"privacy": f"{CENTRAL},budget=9"},
        {"privacy": f"{CENTRAL},delta=1e-4"},
        {"changes": "2:lr=0.5"},
    ],
)
def test_options_that_change_no_update_keep_the_noise(
    moved: Callable[..., np.ndarray], other: Mapping[str, Any]
) -> None:
    options = {"privacy": CENTRAL, "engine": "local", "rounds": 2}
    first, second = moved(**options), moved(**options | dict(other))
    assert alike(first, second) > 0.95


def test_more_rounds_are_those_of_a_longer_run(run_of: Callable[..., Run], net: Any) -> None:
    module = net()
    options = {"parties": 3, "lr": 0.1, "privacy": CENTRAL}
    long = run_of(module, **options, rounds=3).start().wait()
    short = run_of(module, **options, rounds=1).start().wait()
    short.more(2).wait()
    assert short.history["loss"] == long.history["loss"]


def test_noisy_metrics_of_another_run_have_other_noise(
    run_of: Callable[..., Run], net: Any
) -> None:
    module = net()

    def told(lr: float) -> list[float]:
        run = run_of(module, parties=3, rounds=1, lr=lr, report="noised:noise=5").start().wait()
        (record,) = run.history
        return [value for party in sorted(record.party_metrics) for value in
                record.party_metrics[party].values()]  # fmt: skip

    first, again, other = told(1e-6), told(1e-6), told(2e-6)
    assert first == again
    assert not np.allclose(first, other, atol=0.1)


def test_the_card_says_what_the_noise_follows_from(run_of: Callable[..., Run], net: Any) -> None:
    run = run_of(net(), parties=3, rounds=1, privacy=CENTRAL).start().wait()
    (note,) = [note for note in run.notes if "noise follows from" in note]
    assert "options, rows and first weights" in note
    assert "need two seeds" in note
    assert "cohorts are drawn in secret" not in note
