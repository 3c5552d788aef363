"""Ensembles: their members, their joint prediction, and the exported model."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusion_nb import Run, RunSpec
from fusion_nb.algorithms.ensembles.gathered import nonnegative_minimum
from fusion_nb.errors import DataError, FusionError, OptionError


def run_of(rows: Any, model: Any, **options: Any) -> Run:
    x, y = rows
    names = {
        "model": model,
        "data": ((x[:180], y[:180]), (x[180:], y[180:])),
        "public": x[:60],
        "wide": np.zeros((9, 7), "float32"),
    }
    defaults: dict[str, Any] = {
        "data": "data",
        "lr": 0.1,
        "parties": 3,
        "epochs": 3,
        "split": "dirichlet:alpha=1",
    }
    return Run(RunSpec(**defaults | options), names)


def probabilities(module: Any, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(x)).softmax(1).numpy()


@pytest.mark.parametrize(("rule", "rounds"), [("mean", 1), ("vote", 1), ("stack", 2)])
def test_one_exchange_of_models_and_the_exported_one_predicts_the_same(
    rule: str, rounds: int, rows: Any, net: Any, tmp_path: Path
) -> None:
    run = run_of(rows, net(), ensemble=rule).start().wait()
    size = sum(p.numel() * 4 for p in net().parameters())
    assert len(run.history) == rounds
    assert (run.history[0].bytes_up, run.history[0].bytes_down) == (3 * size, 3 * size)
    x, y = rows[0][180:], rows[1][180:]
    assert (probabilities(run.model, x).argmax(1) == y).mean() == pytest.approx(
        run.history["accuracy"][-1]
    )
    run.export(str(tmp_path / "out"), ["pt"])
    state = torch.load(tmp_path / "out" / "model.pt")
    assert "members.0.0.weight" in state
    run.model.load_state_dict(state)


def test_members_are_parties_trained_alone(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), ensemble="mean", baseline="local").start().wait()
    assert all(party.local == party.alone for party in run.parties)


def test_the_mean_is_that_of_the_members_probabilities(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), ensemble="mean").start().wait()
    x = rows[0][180:]
    mean = np.mean([probabilities(member, x) for member in run.model.members], axis=0)
    assert np.allclose(probabilities(run.model, x), mean, atol=1e-5)


def test_a_vote_goes_to_the_class_that_most_members_name(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), ensemble="vote").start().wait()
    x = rows[0][180:]
    named = np.stack([probabilities(member, x).argmax(1) for member in run.model.members])
    counts = np.stack([(named == label).sum(0) for label in range(3)])
    clear = np.sort(counts, axis=0)[-1] > np.sort(counts, axis=0)[-2]
    assert clear.any()
    assert (probabilities(run.model, x).argmax(1) == counts.argmax(0))[clear].all()


def test_stacking_gives_no_negative_share_and_keeps_rows_back(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), ensemble="stack").start().wait()
    shares = run.weights["shares"]
    assert shares.shape == (3, 3)
    assert (shares >= 0).all()
    assert len(run.model.members) == shares.any(axis=0).sum()
    whole = run_of(rows, net(), ensemble="mean").start().wait()
    assert run.parties[0].local != whole.parties[0].local, "members are trained on fewer rows"
    assert run.history[1].bytes_up == 3 * 8 * (3 * 3 * 3 + 3 * 3), "sums are sent, and no models"
    assert run.history[0].bytes_fedavg == 2 * run.history[0].bytes_up, (
        "which sends one model each way"
    )


def test_distilling_uses_no_labels_and_leaves_one_model(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), ensemble="distill:data=public,epochs=5").start().wait()
    assert type(run.model) is torch.nn.Sequential
    averaged = run_of(rows, net(), rounds=1).start().wait()
    assert run.history["loss"] != averaged.history["loss"]


def test_a_party_that_dropped_out_is_no_member(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), ensemble="mean", dropout=0.5, seed=1, parties=6).start().wait()
    lost = len(run.history[0].failures)
    assert 0 < lost < 6
    assert len(run.model.members) == 6 - lost


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"ensemble": "mean", "fusion": "fedprox"}, OptionError, "keeps the parties' models"),
        ({"ensemble": "mean", "personal": "ditto"}, OptionError, "keeps the parties' models"),
        ({"ensemble": "stack", "rounds": 3}, OptionError, "2 at a time"),
        ({"ensemble": "distill:data=nothing_there"}, FusionError, "nothing_there"),
        ({"ensemble": "distill:data=wide"}, DataError, "wide"),
    ],
)
def test_ensembles_that_do_not_fit_are_refused_before_training(
    options: Any, error: Any, says: str, rows: Any, net: Any
) -> None:
    with pytest.raises(error, match=says):
        run_of(rows, net(), **options)


def test_a_vote_needs_classes(rows: Any, net: Any) -> None:
    numbers = (rows[0], rows[0][:, 0] * 2 - 1)
    with pytest.raises(OptionError, match="ensemble='vote'"):
        run_of(numbers, net(outputs=1), split="iid", ensemble="vote")
    run = run_of(numbers, net(outputs=1), split="iid", ensemble="mean", lr=0.05).start().wait()
    with torch.no_grad():
        x = torch.from_numpy(rows[0][180:])
        mean = torch.stack([member(x) for member in run.model.members]).mean(0)
        assert torch.allclose(run.model(x), mean, atol=1e-5)


def plainly_solved(gram: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Minimise x @ gram @ x - 2 * target @ x over x >= 0 by trying every set of free entries."""
    best, least = np.zeros(len(target)), 0.0
    for chosen in itertools.product([False, True], repeat=len(target)):
        free = np.flatnonzero(chosen)
        x = np.zeros(len(target))
        x[free] = np.linalg.solve(gram[np.ix_(free, free)], target[free])
        value = x @ gram @ x - 2 * target @ x
        if (x >= 0).all() and value < least:
            best, least = x, value
    return best


def test_shares_minimise_the_squared_error_without_negative_ones() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        a = rng.normal(size=(9, 5))
        gram, target = a.T @ a + 1e-3 * np.eye(5), rng.normal(size=5) * 3
        found = nonnegative_minimum(gram, target)
        assert (found >= 0).all()
        assert found == pytest.approx(plainly_solved(gram, target), abs=1e-8)
