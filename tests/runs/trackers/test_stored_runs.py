"""Runs read back from trackers: the same rounds, beside runs of the kernel and of folders."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tracked import federate

import fusion_nb
from fusion_nb.core import registry
from fusion_nb.core.protocols import StoredRun, Tracker
from fusion_nb.errors import FusionError, RunError
from fusion_nb.runs.experiments.comparing.gathering import entries_in
from fusion_nb.runs.trackers.rounds_read import history_of

NEEDS = {
    "tensorboard:folder={}/tb": "tensorboard",
    "wandb:folder={}/wb,mode=offline": "wandb",
    "mlflow:uri=sqlite:///{}/m.db": "mlflow",
}
STORES = [
    pytest.param(text, marks=() if package == "tensorboard" else pytest.mark.slow)
    for text, package in NEEDS.items()
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("store", STORES)
def test_stored_runs_are_those_that_were_trained(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(NEEDS[store])
    monkeypatch.chdir(tmp_path)
    text = store.format(tmp_path)
    runs = [federate(log=text, lr=lr, seed=seed) for lr in (0.1, 0.5) for seed in (0, 1)]
    runs[0].export("exported")
    found = entries_in({"kept": text})
    assert {entry.label for entry in found} == {"kept: lr 0.1", "kept: lr 0.5"}
    for run in runs:
        (entry,) = (e for e in found if e.seed == run.spec.seed and f"{run.spec.lr}" in e.label)
        for metric in ("loss", "accuracy", "train_loss"):
            assert entry.history[metric] == pytest.approx(run.history[metric])
        assert entry.history.bytes_sent() == run.history.bytes_sent()
        assert entry.history.party("party 1", "loss") == pytest.approx(
            run.history.party("party 1", "loss")
        )
        assert (entry.metrics, entry.monitor) == (run.chart_metrics, run.result().monitor)
        assert entry.loss_name == run.loss_name
    compared = fusion_nb.compare({"kept": text, "here": runs[2:], "folder": "exported"})
    assert compared.finals["kept: lr 0.5"].mean == pytest.approx(compared.finals["here"].mean)
    assert any("did not keep gradient steps" in note for note in compared.notes)
    assert len(compared.to_frame()) == 4


def test_a_logdir_is_read_without_being_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = federate(log=f"tensorboard:folder={tmp_path}")
    (entry,) = entries_in({"a": tmp_path})
    assert entry.label == "a"
    assert entry.history["accuracy"] == pytest.approx(run.history["accuracy"])


def test_settings_of_a_logdir_are_kept_apart(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for lr in (0.1, 0.5):
        federate(log=f"tensorboard:folder={tmp_path}", lr=lr, rounds=1)
    assert set(fusion_nb.compare({"a": tmp_path}).groups) == {"a: lr 0.1", "a: lr 0.5"}
    assert set(fusion_nb.compare([tmp_path]).groups) == {"lr 0.1", "lr 0.5"}


def test_further_rounds_are_those_of_the_same_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = federate(log=f"tensorboard:folder={tmp_path}", rounds=2)
    run.more(2).wait()
    (entry,) = entries_in([tmp_path])
    assert [record.round for record in entry.history] == [1, 2, 3, 4]


def test_a_seed_that_is_there_twice_is_told() -> None:
    run = federate(rounds=1)
    assert any("has seed 0 2 times" in note for note in fusion_nb.compare([run, run]).notes)


class Kept(Tracker):
    """A tracker of another package, which gives back one run without any tags."""

    def start(self, run: object) -> None: ...

    def log(self, round: int, metrics: object) -> None: ...

    def end(self, ending: object) -> None: ...

    def stored(self) -> list[StoredRun]:
        rounds = {2: {"loss": 0.5, "f1": 0.7}, 1: {"loss": math.nan, "f1": 0.6}}
        return [StoredRun("mine", {"lr": "0.5", "seed": "3", "new": "x"}, {}, rounds, ["colours"])]


def test_a_tracker_of_ones_own_is_read_and_its_gaps_are_told() -> None:
    registry.register("trackers", "kept", Kept)
    (entry,) = entries_in(["kept"])
    assert (entry.seed, entry.monitor, entry.history["f1"]) == (3, "f1", [0.6, 0.7])
    assert entry.lacks == (
        "kept did not keep gradient steps, colours, metrics of parties, bytes, the monitored metric"
    )


def test_a_tracker_without_a_way_back_says_so() -> None:
    with pytest.raises(RunError, match="has no method that reads runs back"):
        fusion_nb.compare({"a": "written"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorboard:folder=nowhere", "no run with a whole round is stored"),
        ("mlflow:uri=sqlite:///nowhere.db", "there is no database"),
        ("tensorboard:foldr=x", "foldr"),
        ("tensorbord:folder=x", "no exported run in"),
    ],
)
def test_a_place_without_runs_is_told(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(text.partition(":")[0].replace("bord", "board"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FusionError, match=message):
        fusion_nb.compare({"a": text})
    assert not list(tmp_path.iterdir()), "reading makes no files"


def test_rounds_without_metrics_are_left_out() -> None:
    found = history_of(StoredRun("a", {}, {}, {1: {}, 2: {"loss": 1.0, "seconds": 2.0}}))
    assert [(record.round, record.metrics, record.seconds) for record in found] == [
        (2, {"loss": 1.0}, 2.0)
    ]
