"""Quick rounds share a checkpoint, and are told in order once it is whole."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from saved_runs import Case, assert_same, full_from, run_in

from fusion_nb.errors import RunError
from fusion_nb.runs.checkpoints import writer_ahead
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.checkpoints.writer_ahead import WriterAhead


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let no checkpoint begin by itself after the first; return the rounds of those written."""
    monkeypatch.setattr(writer_ahead, "SECONDS_APART", 3600.0)
    numbers: list[int] = []
    write = CheckpointFolder.write

    def counted(folder: CheckpointFolder, checkpoint: Checkpoint, keep: int) -> Path:
        numbers.append(checkpoint.round)
        return write(folder, checkpoint, keep)

    monkeypatch.setattr(CheckpointFolder, "write", counted)
    return numbers


def test_quick_rounds_are_told_in_order_after_one_checkpoint(
    tmp_path: Path, written: list[int]
) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=30)
    told: list[tuple[int, int]] = []
    run.subscribe(lambda run: told.append((len(run.records), max(written, default=0))))
    run.start().wait()
    assert len(written) < 30
    assert written[-1] == 30 == CheckpointFolder(folder).latest().round
    assert [round for round, _ in told] == [0, *range(1, 31), 30]
    assert all(saved >= round for round, saved in told)


def test_a_checkpoint_that_takes_long_is_followed_late_by_the_next(
    tmp_path: Path, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_ahead, "SECONDS_APART", 1e-9)
    monkeypatch.setattr(writer_ahead, "MOST_SECONDS_APART", 3600.0)
    monkeypatch.setattr(writer_ahead, "SHARE", 1e-12)
    run_in(tmp_path / "saved", rounds=30).start().wait()
    assert len(written) <= 3  # the first, the one that began beside it, and the last
    assert written[-1] == 30


def test_a_step_ends_though_no_other_round_comes(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=1000)
    for round in (1, 2, 3):
        run.step()
        assert len(run.records) == round == CheckpointFolder(folder).latest().round
    run.stop()


def test_a_stop_tells_all_rounds_that_wait(tmp_path: Path, written: list[int]) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=100_000)
    reached = threading.Event()
    run.on_progress(lambda progress: reached.set() if progress.round == 9 else None)
    run.start()
    assert reached.wait(60)
    run.stop()
    assert run.status == "stopped"
    assert len(run.records) == len(run.federation.history) == written[-1] >= 8
    assert_same(run.more(1).wait(), Case({"rounds": len(run.records)}, is_seeded=True).start(None))


@pytest.mark.parametrize(("keep", "expected"), [(3, [4, 5, 6]), (100, [1, 2, 3, 4, 5, 6])])
def test_each_round_has_its_own_where_more_are_kept(
    keep: int, expected: list[int], tmp_path: Path, written: list[int]
) -> None:
    folder = tmp_path / "saved"
    run_in(folder, rounds=6, checkpoint=f"{folder}:keep={keep}").start().wait()
    assert [int(path.name[-6:]) for path in CheckpointFolder(folder).rounds()] == expected


def test_rounds_that_are_not_due_are_told_without_a_checkpoint(
    tmp_path: Path, written: list[int]
) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=7, checkpoint=f"{folder}:every=3")
    run.start().wait()
    assert set(written) <= {3, 6, 7}
    assert len(run.records) == 7 == written[-1]


def test_a_full_disk_names_the_rounds_and_ends_the_run(
    tmp_path: Path, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, rounds=12)
    told: list[int] = []
    run.subscribe(lambda run: told.append(len(run.records)) if run.status == "running" else None)
    full_from(2, monkeypatch)
    with pytest.raises(RunError, match=r"rounds? \d+( to 12)? can't be saved in .* \(No space"):
        run.start().wait()
    assert run.status == "failed"
    assert max(told) == 1 == CheckpointFolder(folder).latest().round
    monkeypatch.undo()
    case = Case({"rounds": 12}, is_seeded=True)
    assert_same(case.resume(folder), case.start(None))


@dataclass(frozen=True)
class OneRound:
    """The checkpoint of a round, as the writer knows it."""

    round: int
    rows: Any = None


def test_a_listener_that_raises_ends_the_telling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_ahead, "SECONDS_APART", 3600.0)
    folder = CheckpointFolder(tmp_path)
    monkeypatch.setattr(folder, "write", lambda checkpoint, keep: tmp_path)
    writer = WriterAhead(folder, dict, keep=2, is_fresh=True)
    failures: list[BaseException | None] = []
    told: list[int] = []
    writer.begin(on_failure=lambda: failures.append(writer.failure))

    def raises() -> None:
        raise RuntimeError("a listener")

    calls: list[Callable[[], Any]] = [lambda: told.append(1), raises, lambda: told.append(3)]
    for number, tell in enumerate(calls, 1):
        checkpoint: Any = OneRound(number)
        writer.add(checkpoint, tell, is_due=True)
    writer.settle()
    assert told == [1]
    assert isinstance(failures[0], RuntimeError)
    writer.end()


def test_rounds_that_wait_hold_no_states_but_those_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_ahead, "SECONDS_APART", 3600.0)
    folder = CheckpointFolder(tmp_path)
    written: list[int] = []

    def write(checkpoint: Checkpoint, keep: int) -> Path:
        written.append(checkpoint.round)
        return tmp_path

    monkeypatch.setattr(folder, "write", write)
    writer = WriterAhead(folder, dict, keep=2, is_fresh=True)
    writer.begin(on_failure=lambda: None)
    is_first_told = threading.Event()
    told: list[int] = []
    made = []
    for number in range(1, 6):
        checkpoint: Any = OneRound(number)
        tell = is_first_told.set if number == 1 else partial(told.append, number)
        writer.add(checkpoint, tell, is_due=True)
        made.append(weakref.ref(checkpoint))
        del checkpoint
        assert is_first_told.wait(60)
    assert [found() is None for found in made[1:]] == [True, True, True, False]
    writer.end()
    assert (written, told) == ([1, 5], [2, 3, 4, 5])
