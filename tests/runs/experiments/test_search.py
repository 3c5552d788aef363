"""Searches by Optuna: their number, their best, pruning, and going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusion_nb.errors import FusionError
from fusion_nb.runs.experiments.searching import SearchedTrials

pytest.importorskip("optuna", reason="the extra tune is not installed")


def test_a_search_tries_its_number_of_settings_within_their_ranges(short_sweep: Any) -> None:
    made = short_sweep(lr="0.001..1", epochs="[1..3]", search="optuna:trials=6,pruner=none")
    assert len(made.runs) == made.size == 6
    assert all(0.001 <= trial.settings["lr"] <= 1 for trial in made.runs)
    assert {type(trial.settings["epochs"]) for trial in made.runs} == {int}
    assert len({trial.settings["lr"] for trial in made.runs}) == 6


def test_ranges_stand_inside_components_and_beside_lists(short_sweep: Any) -> None:
    made = short_sweep(
        fusion="fedavg,fedprox:mu=[0.01..1]",
        batch_size=[8, 16],
        search="optuna:trials=8,pruner=none",
    )
    frame = made.to_frame()
    assert {*frame["fusion"]} == {"fedavg", "fedprox"}
    assert frame["fusion.mu"].dropna().between(0.01, 1).all()
    assert {*frame["batch_size"]} <= {8, 16}


def test_the_same_seed_searches_the_same(short_sweep: Any) -> None:
    first, second = (short_sweep(lr="0.001..1", search="optuna:trials=4") for _ in range(2))
    assert [t.settings for t in first.runs] == [t.settings for t in second.runs]
    other = short_sweep(lr="0.001..1", search="optuna:trials=4,seed=1")
    assert [t.settings for t in first.runs] != [t.settings for t in other.runs]


def test_settings_that_are_worse_are_pruned_by_round(short_sweep: Any) -> None:
    made = short_sweep(lr="1e-6..1", rounds=6, search="optuna:trials=14,metric=loss")
    pruned = [trial for trial in made.runs if trial.status == "pruned"]
    assert pruned
    assert all(len(trial.records) < 6 for trial in pruned)
    assert made.best.status == "finished"
    assert min(t.value("loss") for t in pruned) > made.best.value("loss")


def test_a_setting_that_fails_is_a_row(short_sweep: Any) -> None:
    made = short_sweep(fusion="fedavg,krum", search="optuna:trials=6,pruner=none")
    assert {trial.status for trial in made.runs} == {"finished", "failed"}
    assert len(made.runs) == 6


def test_settings_are_tried_under_all_seeds(short_sweep: Any) -> None:
    made = short_sweep(lr="0.01..1", seeds="0-1", search="optuna:trials=3,pruner=none")
    assert [trial.seed for trial in made.runs] == [0, 1] * 3
    assert len({trial.settings["lr"] for trial in made.runs}) == 3


def test_a_search_that_was_saved_is_not_trained_again(
    short_sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {
        "lr": "1e-5..1",
        "rounds": 4,
        "search": "optuna:trials=8,metric=loss",
        "checkpoint": str(tmp_path / "saved"),
    }
    first = short_sweep(**given)
    from fusion_nb.runs.experiments import here

    monkeypatch.setattr(here, "train", None)
    again = short_sweep(**given)
    assert [(t.settings, t.status) for t in again.runs] == [
        (t.settings, t.status) for t in first.runs
    ]


@pytest.mark.parametrize("where", ["", "checkpoint", "workers"])
def test_a_pruned_run_has_the_rounds_until_it_was_pruned(
    short_sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    options = {"": {}, "checkpoint": {"checkpoint": str(tmp_path / "saved")}}
    asked: list[int] = []

    def prunes(self: Any, trial: Any, history: Any) -> bool:
        asked.append(len(history))
        return len(history) == 2

    monkeypatch.setattr(SearchedTrials, "prunes", prunes)
    search = {"lr": "0.01..1", "search": "optuna:trials=1,pruner=none", "rounds": 200}
    made = short_sweep(**search, **options.get(where, {"workers": 1}))
    assert asked == [1, 2]
    (trial,) = made.runs
    assert (trial.status, trial.reason) == ("pruned", "pruned after round 2")
    assert len(trial.records) == 2
    assert trial.facts is not None
    assert len(trial.facts.steps) == 2


def test_settings_that_were_pruned_are_trained_under_no_further_seed(
    short_sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {
        "lr": "1e-6..1",
        "rounds": 4,
        "seeds": "0-1",
        "search": "optuna:trials=10,metric=loss",
        "checkpoint": str(tmp_path / "saved"),
    }
    first = short_sweep(**given)
    pruned = {t.point.label for t in first.runs if t.status == "pruned" and t.records}
    assert pruned
    for trial in first.runs:
        if trial.point.label in pruned and not trial.records:
            assert (trial.status, trial.reason) == (
                "pruned",
                "these settings were pruned under seed 0",
            )
    assert {trial.status for trial in first.runs} == {"finished", "pruned"}
    from fusion_nb.runs.experiments import here

    monkeypatch.setattr(here, "train", None)  # so that a trial that is trained again fails
    again = short_sweep(**given)
    assert [(t.settings, t.status) for t in again.runs] == [
        (t.settings, t.status) for t in first.runs
    ]


@pytest.mark.slow
def test_a_search_by_several_workers_is_taken_up_by_one(
    short_sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {
        "lr": "1e-5..1",
        "search": "optuna:trials=16,metric=loss,pruner=none",
        "checkpoint": str(tmp_path / "saved"),
    }
    first = short_sweep(**given, workers=3)
    from fusion_nb.runs.experiments import here

    monkeypatch.setattr(here, "train", None)
    again = short_sweep(**given)
    assert [t.settings for t in again.runs] == [t.settings for t in first.runs]
    assert {t.status for t in again.runs} == {"finished"}


@pytest.mark.parametrize(
    "options",
    [
        {"search": "optuna:trials=0", "lr": "0.1..1"},
        {"search": "optuna:trial=3", "lr": "0.1..1"},
        {"search": "optuna:pruner=best", "lr": "0.1..1"},
        {"search": "grid", "lr": "0.1..1"},
        {"search": "optuna:trials=3", "lr": 0.1},
        {"search": "optuna:trials=3", "lr": "1..0.1"},
        {"search": "optuna:trials=3,metric=acuracy", "lr": "0.1..1"},
    ],
)
def test_other_searches_are_refused(short_sweep: Any, options: Any) -> None:
    with pytest.raises(FusionError) as found:
        short_sweep(**options)
    assert found.value.hint
