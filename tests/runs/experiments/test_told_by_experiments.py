"""Sentences of an experiment about its seeds, and about warnings of its runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.core.protocols import Tracker
from fusion_nb.runs.trackers.option import tracker


def test_weights_that_were_built_before_are_not_told_to_vary(net: Any, rows: Any) -> None:
    made = fusion_nb.sweep(net(), rows, rounds=1, parties=2, seeds="0-1")
    assert "2 seeds vary split, cohort and batches" in made.notes
    assert any("the model was built before" in note for note in made.notes)


@pytest.mark.parametrize("options", [{"hold": "weights"}, {"seed_of": "weights=7"}])
def test_held_weights_of_a_built_model_are_no_warning(net: Any, rows: Any, options: Any) -> None:
    made = fusion_nb.sweep(net(), rows, rounds=1, parties=2, seeds="0-1", **options)
    assert "2 seeds vary split, cohort and batches; held: weights" in made.notes
    assert not any("built before" in note for note in made.notes)


def test_an_estimator_that_draws_its_weights_is_no_warning() -> None:
    neural_network = pytest.importorskip("sklearn.neural_network")
    x = np.random.default_rng(0).normal(size=(90, 4))
    y = (x[:, 0] > 0).astype(int)
    model = neural_network.MLPClassifier(hidden_layer_sizes=(4,))
    made = fusion_nb.sweep(model, (x, y), rounds=1, parties=2, seeds="0-1", hold="split")
    assert not any("built before" in note for note in made.notes)
    assert len({trial.facts.initial_sha256 for trial in made.runs if trial.facts}) == 2


def test_a_tracker_that_fails_is_told_once_for_all_runs(short_sweep: Any) -> None:
    @tracker(name="fails_in_round_2")
    class Failing(Tracker):
        def start(self, run: Any) -> None: ...

        def log(self, round: int, metrics: Any) -> None:
            if round == 2:
                raise OSError("the disk is full")

        def end(self, ending: Any) -> None: ...

    made = short_sweep(seeds="0-2", log="fails_in_round_2")
    assert [trial.status for trial in made.runs] == ["finished"] * 3
    (note,) = (note for note in made.notes if "tracker" in note)
    assert "the disk is full at round 2" in note
    assert note in made._repr_mimebundle_()["text/plain"]


def test_warnings_that_differ_in_numbers_are_one_with_their_count(short_sweep: Any) -> None:
    made = short_sweep(seeds="0-1", lr=[1e-9, 1e-8], rounds=1)
    notes = [f"warning: the loss is {0.1 * trial.seed:.2f}" for trial in made.runs]
    for trial, note in zip(made.runs, notes, strict=True):
        object.__setattr__(trial.facts, "notes", (note,))
    assert f"{notes[0]} (alike in 4 of 4 runs)" in made.notes
    object.__setattr__(made.runs[0].facts, "notes", ("warning: another one",))
    assert "warning: another one (in 1 of 4 runs)" in made.notes
    made.runs[0].status = "pruned"
    assert not any("another one" in note for note in made.notes)
