"""A round of a run in a named folder is told once it is safe there, and not before; the next one
is trained meanwhile."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from saved_runs import Case, assert_same, digest, full_from, run_in

from fusion_nb import Run
from fusion_nb.engines.progress import Progress
from fusion_nb.errors import RunError
from fusion_nb.runs.checkpoints.folder import CheckpointFolder

pytestmark = pytest.mark.usefixtures("saved_alone")

#: Seconds after which a thread that does not go on has hung.
TIMEOUT = 60


class HeldDisk:
    """Lets each write of a round wait, from one round on, until it is let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
        self.began, self._through = threading.Event(), threading.Event()
        write = CheckpointFolder.write

        def held(folder: CheckpointFolder, checkpoint: Any, keep: int) -> Path:
            if checkpoint.round >= first:
                self.began.set()
                assert self._through.wait(TIMEOUT)
            return write(folder, checkpoint, keep)

        monkeypatch.setattr(CheckpointFolder, "write", held)

    def let_through(self) -> None:
        self._through.set()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], HeldDisk]]:
    """Return what holds the disk from a round on; it is let through at the end of the test."""
    made: list[HeldDisk] = []

    def make(first: int) -> HeldDisk:
        made.append(HeldDisk(monkeypatch, first))
        return made[-1]

    yield make
    for disk in made:
        disk.let_through()


def rounds_in(folder: Path) -> list[int]:
    return [int(path.name[-6:]) for path in CheckpointFolder(folder).rounds()]


def progress_of(run: Run, round: int) -> threading.Event:
    """Return an event that is set when a party has answered in a round."""
    reached = threading.Event()
    run.on_progress(lambda progress: reached.set() if progress.round == round else None)
    return reached


def paused_in(run: Run, round: int) -> threading.Event:
    """Return an event that is set when a run was paused in the middle of a round."""
    paused = threading.Event()

    def pause(progress: Progress) -> None:
        if progress.round == round and not paused.is_set():
            run.pause()
            paused.set()

    run.on_progress(pause)
    return paused


def test_each_round_that_is_told_is_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=12)
    told: list[tuple[int, int]] = []
    run.subscribe(lambda run: told.append((len(run.records), max(rounds_in(folder), default=0))))
    run.start().wait()
    assert [round for round, _ in told] == [0, *range(1, 13), 12]
    assert all(saved >= round for round, saved in told)


def test_the_next_round_is_trained_before_one_is_told(
    tmp_path: Path, hold: Callable[[int], HeldDisk]
) -> None:
    run = run_in(tmp_path / "saved")
    disk = hold(2)
    told: list[int] = []
    run.subscribe(lambda run: told.append(len(run.records)))
    reached = progress_of(run, 3)
    run.start()
    assert reached.wait(TIMEOUT)  # round 3 is trained, or was, and round 2 is not on disk
    assert len(run.federation.history) in (2, 3)
    assert max(told) == len(run.records) == 1
    disk.let_through()
    run.wait()
    assert sorted(set(told)) == [0, 1, 2, 3, 4]
    assert_same(run, Case(is_seeded=True).start(None))


def test_weights_are_those_of_the_round_that_is_told(
    tmp_path: Path, hold: Callable[[int], HeldDisk]
) -> None:
    by_round: dict[int, Any] = {}
    plain = Case(is_seeded=True)
    whole = Run(plain.spec, plain.namespace())
    whole.subscribe(lambda run: by_round.setdefault(len(run.records), digest(run.weights)))
    whole.start().wait()
    run = run_in(tmp_path / "saved")
    disk = hold(2)
    reached = progress_of(run, 3)
    run.start()
    assert reached.wait(TIMEOUT)
    assert digest(run.weights) == by_round[1] != by_round[2]
    assert run.spec.rounds == 4
    disk.let_through()
    seen: dict[int, Any] = {}
    run.subscribe(lambda run: seen.setdefault(len(run.records), digest(run.weights)))
    run.wait()
    assert seen[4] == by_round[4]
    assert all(seen[round] == by_round[round] for round in seen)


def test_a_model_of_a_paused_run_waits_for_the_round_that_is_written(
    tmp_path: Path, hold: Callable[[int], HeldDisk]
) -> None:
    run = run_in(tmp_path / "saved", rounds=1000)
    disk = hold(2)
    paused = paused_in(run, 3)
    run.start()
    assert paused.wait(TIMEOUT)
    found: list[int] = []
    asks = threading.Thread(target=lambda: found.append(len(run.history)))
    asks.start()
    assert found == []
    disk.let_through()
    asks.join(TIMEOUT)
    assert found == [2]
    run.stop()


def test_a_step_ends_when_its_round_is_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=1000)
    for round in (1, 2, 3):
        run.step()
        assert len(run.records) == round == max(rounds_in(folder))
        assert len(run.federation.history) == round  # no later one is trained meanwhile
        assert run.status == "paused"
    run.change(lr=0.01)
    run.step().stop()
    assert run.records[3].changes == {"lr": 0.01}


def test_a_step_is_not_ended_by_the_round_before(
    tmp_path: Path, hold: Callable[[int], HeldDisk]
) -> None:
    run = run_in(tmp_path / "saved", rounds=1000)
    disk = hold(2)
    paused = paused_in(run, 3)
    run.start()
    assert paused.wait(TIMEOUT)
    run.step(wait=False)
    disk.let_through()
    assert len(run.history) == 3  # it waits for the pause at the end of round 3
    run.stop()


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({"until": "loss < 100"}, 1),
        ({"patience": 2, "lr": 1e-9, "rounds": 50}, 3),
        ({"until": "loss < 100", "checkpoint": ":every=5"}, 1),
    ],
)
def test_early_stopping_trains_no_round_too_many(
    options: dict[str, Any], ends: int, tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    every = options.get("checkpoint", "")
    run = run_in(folder, **options | {"checkpoint": f"{folder}{every}"}).start().wait()
    assert run.reason
    assert len(run.records) == len(run.federation.history) == ends
    assert CheckpointFolder(folder).latest().round == ends
    assert CheckpointFolder(folder).latest().reason == run.reason


def test_a_stop_tells_the_round_that_is_being_written(
    tmp_path: Path, hold: Callable[[int], HeldDisk]
) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=1000)
    disk = hold(2)
    seen: list[tuple[str, int]] = []
    run.subscribe(lambda run: seen.append((run.status, len(run.records))))
    reached = progress_of(run, 3)
    run.start()
    assert reached.wait(TIMEOUT)
    run.stop(wait=False)
    assert ("stopped", 2) not in seen
    disk.let_through()
    run.stop()
    assert seen[-2:] == [("running", 2), ("stopped", 2)]
    assert rounds_in(folder)[-1] == 2
    run.more(1).wait()
    assert len(run.records) == 3 == rounds_in(folder)[-1]


@pytest.mark.parametrize("ask", ["stop", "wait", "history", "more"])
def test_a_listener_may_ask_the_run(ask: str, tmp_path: Path) -> None:
    run = run_in(tmp_path / "saved")
    asked: list[int] = []

    def listener(run: Run) -> None:
        if len(run.records) == 2 and not asked:
            asked.append(2)
            found = {"stop": run.stop, "wait": run.wait, "more": lambda: run.more(1)}
            if ask == "history":
                asked.append(len(run.history))
            else:
                found[ask]()

    run.subscribe(listener)
    run.start().wait()
    assert {*asked} == {2}
    expected = {"stop": ("stopped", (2, 3)), "more": ("finished", (5,))}
    status, counts = expected.get(ask, ("finished", (4,)))
    assert run.status == status
    assert len(run.records) in counts


def test_a_full_disk_stops_the_round_that_is_being_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=100_000)
    full_from(3, monkeypatch)
    with pytest.raises(RunError, match=r"round 3 can't be saved in .* \(No space left"):
        run.start().wait()
    assert run.status == "failed"
    assert len(run.federation.history) in (3, 4)
    assert len(run.records) == len(run.federation.history)  # it is said, and held
    assert rounds_in(folder) == [1, 2] or rounds_in(folder) == [2]
    assert CheckpointFolder(folder).latest().round == 2
    monkeypatch.undo()
    run.more(2).wait()  # there is room again
    assert CheckpointFolder(folder).latest().round == len(run.records)


def test_a_full_disk_ends_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: Callable[[int], HeldDisk]
) -> None:
    run = run_in(tmp_path / "saved", rounds=1000)
    full_from(2, monkeypatch)
    disk = hold(2)
    paused = paused_in(run, 3)
    run.start()
    assert paused.wait(TIMEOUT)
    disk.let_through()
    with pytest.raises(RunError, match="round 2 can't be saved"):
        run.stop().wait()
    assert run.status == "failed"


def test_a_full_disk_for_the_last_round_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path / "saved", personal="finetune")
    full_from(4, monkeypatch)
    with pytest.raises(RunError, match="round 4 can't be saved"):
        run.start().wait()
    assert run.status == "failed"
    assert CheckpointFolder(tmp_path / "saved").latest().round == 3


def test_a_change_that_is_made_while_a_round_is_written_is_of_no_saved_round(
    tmp_path: Path, hold: Callable[[int], HeldDisk]
) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, checkpoint=f"{folder}:keep=100")
    disk = hold(2)
    reached = progress_of(run, 3)
    run.start()
    assert reached.wait(TIMEOUT)
    run.change(lr=0.001)
    disk.let_through()
    run.wait()
    for path in folder.glob("round-00000[3-4]"):
        shutil.rmtree(path)
    assert CheckpointFolder(folder).latest().snapshot.changes == {}
    assert run.records[3].changes == {"lr": 0.001}
