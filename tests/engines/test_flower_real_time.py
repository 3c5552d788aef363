"""Asynchronous rounds in real time over Flower: a rehearsal, and a running federation."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_runs import seeded, wait_until
from federation import Federation, federation
from torch import nn

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.runs.run import Run

pytest.importorskip("flwr")
pytestmark = pytest.mark.slow


def net() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)))


def rehearsed(rows: Any, **options: Any) -> Run:
    given = {"parties": 4, "rounds": 4, "lr": 0.1, "fusion": "fedbuff:buffer=2", **options}
    spec = RunSpec(data="data", engine="flower:nodes=2", **given)
    return Run(spec, {"model": net(), "data": rows})


class TestRehearsal:
    def test_rounds_have_the_buffer_and_stale_updates(self, rows: Any) -> None:
        run = rehearsed(rows).start().wait()
        assert [len(record.cohort) for record in run.records] == [2] * 4
        assert {trip.version for record in run.records for trip in record.trips.values()} > {0}
        assert run.history[-1].metrics["loss"] < run.history[0].metrics["loss"]

    def test_pause_stop_and_more(self, rows: Any) -> None:
        run = rehearsed(rows, rounds=500).start()
        wait_until(lambda: len(run.records) >= 2)
        run.pause()
        wait_until(lambda: run.status == "paused")
        run.resume()
        seen = len(run.records)
        wait_until(lambda: len(run.records) > seen)
        run.stop().wait()
        whole = len(run.records)
        assert run.status == "stopped"
        run.more(2).wait()
        assert [record.round for record in run.records] == [*range(1, whole + 3)]

    def test_a_node_that_is_killed_is_a_failure_and_takes_part_again(self, rows: Any) -> None:
        run = rehearsed(rows, parties=2, rounds=10_000, fusion="fedasync", epochs=100).start()
        engine = run.federation.network.engine.innermost
        killed: list[int] = []
        since = 0

        def has_failed() -> bool:
            """Kill the node once more where it was idle, and nothing was lost."""
            nonlocal since
            if any(record.failures for record in run.records):
                return True
            if any("party 1" in record.cohort for record in run.records[since:]):
                pid = engine.pids["node 1"]
                if pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    since = len(run.records) + 2
            return False

        wait_until(has_failed)
        after = len(run.records)
        wait_until(lambda: any("party 1" in record.cohort for record in run.records[after:]))
        run.stop().wait()
        failed = {failure.party for record in run.records for failure in record.failures}
        assert failed == {"party 1"}

    def test_it_is_resumed_from_a_folder(self, rows: Any, tmp_path: Path) -> None:
        folder = str(tmp_path / "kept")
        run = rehearsed(rows, checkpoint=folder).start().wait()
        again = fusion_nb.resume(folder, model=net(), data=rows)
        again.more(2).wait()
        assert [r.metrics for r in again.records[:4]] == [r.metrics for r in run.records]
        assert len(again.records) == 6


class TestRunningFederation:
    @pytest.fixture(scope="class")
    @classmethod
    def three(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
        names = [f"clinic {i}" for i in range(1, 4)]
        with federation(tmp_path_factory.mktemp("three")) as made:
            for i, name in enumerate(names):
                made.join(name, i + 1)
            wait_until(lambda: all(made.joined(name) for name in names))
            yield made

    def test_a_party_that_dies_is_left_out_and_comes_back(self, three: Federation) -> None:
        spec = RunSpec(
            engine=f"flower:superlink={three.address},insecure=true",
            parties=3,
            rounds=10_000,
            lr=0.1,
            epochs=50,
            fusion="fedbuff:buffer=1",
        )
        run = Run(spec, {"model": net()}).start()
        wait_until(lambda: len(run.records) >= 3)
        three.kill("clinic 3")
        three.join("clinic 3", 3)

        def is_back() -> bool:
            """Whether the party failed, and sent an update after that."""
            failed = [
                r.round for r in run.records if any(f.party == "clinic 3" for f in r.failures)
            ]
            later = run.records[failed[0] :] if failed else []
            return any(
                "clinic 3" in r.trips and all(f.party != "clinic 3" for f in r.failures)
                for r in later
            )

        wait_until(lambda: is_back() or run.status != "running")
        run.stop().wait()
        assert run.status == "stopped"
        assert run.federation.history[-1].round == len(run.records)
