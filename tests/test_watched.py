"""How far a round is, told while it is under way."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.engines.progress import Progress


def run_of(rows: Any, model: Any, **options: Any) -> Run:
    return Run(RunSpec(data="data", lr=0.1, rounds=2, **options), {"model": model, "data": rows})


def test_every_reply_within_a_round_is_told(rows: Any, net: Any) -> None:
    run, heard = run_of(rows, net(), parties=3), []
    run.hear(heard.append)
    run.start().wait()
    assert heard == [Progress(number, 3, replies) for number in (1, 2) for replies in (1, 2, 3)]


def test_who_failed_is_told_by_name(rows: Any, net: Any) -> None:
    run, heard = run_of(rows, net(), parties=6, dropout=0.5, seed=1), []
    run.hear(heard.append)
    run.start().wait()
    last = [progress for progress in heard if progress.round == 1][-1]
    assert last.num_replies == 6
    assert last.failed
    assert set(last.failed) == {failure.party for failure in run.history[0].failures}


def test_a_listener_that_fails_ends_no_training(
    rows: Any, net: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run, heard = run_of(rows, net()), []

    def fails(progress: Progress) -> None:
        heard.append(progress)
        raise OSError("no screen")

    run.hear(fails)
    assert len(run.start().wait().history) == 2
    assert len(heard) == 1, "it is not told again"
    assert "no screen" in capsys.readouterr().err
