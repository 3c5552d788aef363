"""Trackers as a run drives them: in order, beside the training, and never at its cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tracked import MADE, ROWS, Written, called, federate, model

import fusion_nb
from fusion_nb.errors import FusionError, MissingExtraError
from fusion_nb.runs.trackers import option as trackers
from fusion_nb.runs.trackers import tracking


def test_a_run_is_told_in_order_in_one_other_thread() -> None:
    run = federate(log="written", lr=0.25, parties=2)
    tracker = called()
    assert [call[0] for call in tracker.calls] == ["start", "log", "log", "log", "end"]
    start, end = tracker.calls[0][1], tracker.calls[-1][1]
    assert (start.name, start.round, len(start.id)) == (run.name, 0, 32)
    assert start.params["lr"] == 0.25
    assert start.params["fusion"] == "fedavg"
    assert not {"log", "checkpoint", "code"} & start.params.keys()
    assert "--lr 0.25" in start.tags["fusion_nb.cell"]
    assert "--log" not in start.tags["fusion_nb.cell"]
    assert [call[1] for call in tracker.calls[1:4]] == [1, 2, 3]
    for _, round, metrics in tracker.calls[1:4]:
        record = run.history[round - 1]
        assert metrics["loss"] == record.metrics["loss"]
        assert metrics["bytes_up"] == record.bytes_up
        party = record.party_metrics["party 1"]
        assert metrics["party/party 1/accuracy"] == party["accuracy"]
    assert (end.status, end.reason) == ("finished", "")
    assert end.metrics["best_accuracy"] == max(run.history["accuracy"])
    expected = {"CARD.md", "card.json", "chart.png", "history.csv", "schema.json", "model.pt"}
    assert expected <= {*tracker.files}
    assert not end.folder.exists(), "the files were there for the tracker alone"
    assert len(tracker.threads) == 1
    assert not any(thread.is_alive() for thread in tracker.threads)


@pytest.mark.parametrize("limit", [0, 1, 2, 20])
def test_parties_are_logged_up_to_a_limit(limit: int) -> None:
    federate(log=f"written:parties={limit}", rounds=1)
    names = called().calls[1][2]
    assert any(name.startswith("party/") for name in names) == (limit >= 2)
    assert "loss" in names


@pytest.mark.parametrize("where", ["start", "log", "end"])
def test_a_tracker_that_fails_is_one_note_and_costs_no_round(where: str) -> None:
    alone = federate()
    run = federate(log=f"written:fails={where},written:parties=3")
    assert run.history["loss"] == alone.history["loss"]
    assert run.status == "finished"
    notes = [note for note in run.notes if "tracker" in note]
    assert len(notes) == 1
    assert "ConnectionError: nobody answers" in notes[0]
    assert "secret" not in notes[0]
    broken, other = (made for made in MADE if made.calls)
    assert [call[0] for call in broken.calls].count(where) == 1, "it is called no more"
    assert [call[0] for call in other.calls] == ["start", "log", "log", "log", "end"]
    assert notes[0] in str(run.summary())


@pytest.mark.parametrize("where", ["start", "log", "end"])
def test_a_tracker_that_hangs_holds_no_run(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "LONGEST_WAIT", 0.05)
    run = federate(log=f"written:waits={where}")
    assert (len(run.history), run.status) == (3, "finished")
    assert any("still writes" in note for note in run.notes)
    tracker = called()
    assert [call[0] for call in tracker.calls][-1] == where
    monkeypatch.setattr(tracking, "LONGEST_WAIT", 60.0)
    tracker.may_go_on.set()
    run.more(1).wait()
    assert [call[0] for call in tracker.calls] == [
        *("start", "log", "log", "log", "end"),
        *("start", "log", "end"),
    ]
    assert not any("still writes" in note for note in run.notes)


def test_more_rounds_go_to_the_same_tracked_run() -> None:
    run = federate(log="written")
    run.more(2).wait()
    starts = [call[1] for call in called().calls if call[0] == "start"]
    assert [start.round for start in starts] == [0, 3]
    assert len({start.id for start in starts}) == 1
    assert [call[1] for call in called().calls if call[0] == "log"] == [1, 2, 3, 4, 5]
    assert starts[0].id != _id_of(federate(log="written")), "another run is another one"


def _id_of(run: fusion_nb.Run) -> str:
    assert run.status == "finished"
    return str(called().calls[0][1].id)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("given", [{}, {"log": "written:parties=4"}])
def test_a_resumed_run_goes_on_in_the_same_tracked_run(
    every: int, given: dict[str, str], tmp_path: Path
) -> None:
    saved = {"checkpoint": f"{tmp_path / 'run'}:every={every}", "log": "written", "rounds": 6}

    def stops(run: fusion_nb.Run, record: Any) -> None:
        if record.round == 3:
            run.stop()

    federate(**saved, callbacks=stops)
    first = called()
    MADE.clear()
    again = fusion_nb.resume(tmp_path / "run", model(), ROWS, callbacks=lambda *_: None, **given)
    assert len(again.history) == 6
    assert called().calls[0][1].id == first.calls[0][1].id
    before = [call[1] for call in first.calls if call[0] == "log"]
    after = [call[1] for call in called().calls if call[0] == "log"]
    assert [*before, *after] == [1, 2, 3, 4, 5, 6] if every == 1 else after[-1] == 6


def test_a_run_that_fails_is_told_so() -> None:
    @fusion_nb.fusion(name="breaks")
    def breaks(weights: Any, updates: Any) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        federate(log="written", fusion="breaks")
    end = called().calls[-1]
    assert end[0] == "end"
    assert (end[1].status, end[1].folder) == ("failed", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mlflow", ["mlflow"]),
        ("mlflow , tensorboard:folder=a", ["mlflow", "tensorboard:folder=a"]),
        (
            "mlflow:uri=http://h:5,experiment=e,wandb",
            ["mlflow:uri=http://h:5,experiment=e", "wandb"],
        ),
        ("tensorboard:runs,parties=3", ["tensorboard:runs,parties=3"]),
    ],
)
def test_the_notation_is_read(text: str, expected: list[str]) -> None:
    assert trackers.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mlfow", "did you mean 'mlflow'"),
        ("tensorboard:dir=runs", "it has: folder, parties"),
        ("written:parties=many", "parties"),
        ("written,written", "twice"),
        ("mlflow:uri=./mlruns", "mlflow:uri=sqlite:///./mlruns/mlflow.db"),
        ("wandb:mode=maybe", "mode"),
        ("tensorboard:folder=", "folder"),
    ],
)
def test_bad_text_is_one_line_before_training(text: str, message: str) -> None:
    if text.startswith("wandb"):
        pytest.importorskip("wandb")
    with pytest.raises(FusionError) as raised:
        federate(log=text)
    assert message in str(raised.value)
    assert len(raised.value.message.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "package", "command"),
    [
        ("mlflow", "mlflow", "pip install 'fusion_nb[track]'"),
        ("tensorboard", "tensorboard", "pip install 'fusion_nb[track]'"),
        ("wandb", "wandb", "pip install 'fusion_nb[wandb]'"),
        ("trackio", "trackio", "pip install trackio"),
    ],
)
def test_a_missing_package_is_named_with_its_command(
    name: str, package: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda word: None)
    with pytest.raises(MissingExtraError) as raised:
        federate(log=name)
    assert repr(package) in raised.value.message
    assert command in raised.value.hint


def test_a_tracker_of_the_users_own_is_registered() -> None:
    @fusion_nb.tracker(name="mine")
    class Mine(Written):
        """Another one."""

    run = federate(log="mine", rounds=1)
    assert type(called()) is Mine
    assert run.spec.log == "mine"

    with pytest.raises(FusionError, match="no tracker"):
        fusion_nb.tracker(type("NoTracker", (), {}))


def test_a_cell_logs_and_its_card_names_no_tracker(ip: Any, tmp_path: Path) -> None:
    seen = ip.run(
        "%%fusion --parties 2 --rounds 1 --log tensorboard:folder=tb\n"
        "import torch\nmodel = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))"
    )
    assert seen.error is None, seen.text
    assert len(list((tmp_path / "tb").iterdir())) == 1
    run = ip.ns["run"]
    assert any(note.startswith("tensorboard: run-") for note in run.notes)
    assert "--log tensorboard:folder=tb" in run.spec.to_cell()
    run.export("fused")
    assert "folder=tb" not in Path("fused/card.json").read_text().replace("logdir", "")
