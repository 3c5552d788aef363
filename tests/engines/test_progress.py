"""Progress within a round."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.engines.progress import Progress


def run_of(rows: Any, model: Any, **options: Any) -> Run:
    return Run(RunSpec(data="data", lr=0.1, rounds=2, **options), {"model": model, "data": rows})


def test_listeners_get_every_reply_within_a_round(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), parties=3)
    heard: list[Progress] = []
    unsubscribe = run.on_progress(heard.append)
    run.start().wait()
    assert heard == [Progress(number, 3, replies) for number in (1, 2) for replies in (1, 2, 3)]
    unsubscribe()
    unsubscribe()
    run.more(1).wait()
    assert len(heard) == 6


def test_failed_parties_are_named(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), parties=6, dropout=0.5, seed=1)
    heard: list[Progress] = []
    run.on_progress(heard.append)
    run.start().wait()
    last = [progress for progress in heard if progress.round == 1][-1]
    assert last.num_replies == 6
    assert last.failed
    assert set(last.failed) == {failure.party for failure in run.history[0].failures}


def test_a_listener_that_fails_ends_no_training(
    rows: Any, net: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(rows, net())
    heard: list[Progress] = []

    def fails(progress: Progress) -> None:
        heard.append(progress)
        raise OSError("no screen")

    run.on_progress(fails)
    assert len(run.start().wait().history) == 2
    assert len(heard) == 1, "it is not called again"
    assert "no screen" in capsys.readouterr().err
