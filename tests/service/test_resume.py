"""A run of the service that was cut short goes on after its last whole round, with the rounds and
the weights of one that was never interrupted.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Server, serving, wait_for

from fusion_nb.core import history
from fusion_nb.runs.run import Run
from fusion_nb.service.processes import sandbox
from fusion_nb.service.storage.run_folder import RunFolder

#: Enough rounds for a run to be cut short in the middle of them.
ROUNDS = 120
#: Rules and options whose runs have a state of the server's, of parties, or of both.
STATEFUL: dict[str, dict[str, Any]] = {
    "no state": {},
    "of the server": {"fusion_algorithm": "fedadam"},
    "of parties": {"fusion_algorithm": "scaffold"},
    "personal models": {"personal": "ditto"},
}
OTHERS = [name for name in STATEFUL if name != "of parties"]


def folder_of(server: Server, aggregator_id: str) -> RunFolder:
    return RunFolder(server.state / "aggregators" / aggregator_id)


def rounds_of(server: Server, aggregator_id: str) -> tuple[list[str], int]:
    """Return the records of a run, and the round that it was taken up after."""
    answer = server.call("GET", f"/rounds/{aggregator_id}")
    return answer.text.splitlines(), int(answer.headers["X-Fusion-Resumed-After"])


def cut_short(server: Server, aggregator_id: str, cut: Callable[[], object]) -> list[str]:
    """Train, end the training in the middle, and return the records that are there."""
    server.train(aggregator_id, wait=False)
    wait_for(lambda: server.status(aggregator_id)["round"] > 2)
    cut()
    wait_for(lambda: server.status(aggregator_id)["state"] in ("failed", "interrupted"))
    before, _ = rounds_of(server, aggregator_id)
    assert 2 < len(before) < ROUNDS
    return before


def kill_child(server: Server) -> None:
    server.children("training")[0].kill()


def restart(server: Server) -> None:
    server.kill()
    server.start()


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without the time that its round took."""
    return {name: value for name, value in record.items() if name != "seconds"}


def assert_uninterrupted(
    server: Server, aggregator_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare rounds and weights with those of the same run in this process."""
    folder = folder_of(server, aggregator_id)
    monkeypatch.chdir(folder.path)
    spec, namespace = sandbox.spec_and_namespace(folder)
    run = Run(spec, namespace).start().wait()
    records, _ = folder.rounds.records()
    assert [comparable(json.loads(line)) for line in records] == [
        comparable(json.loads(json.dumps(history.to_dict(record)))) for record in run.records
    ]
    for which, weights in (("last", run.weights), ("best", run.best.weights)):
        answer = server.call(
            "GET", f"/weights/{aggregator_id}", params={"format": "npz", "which": which}
        )
        with np.load(io.BytesIO(answer.content)) as found:
            assert set(found.files) == set(weights)
            for name, array in weights.items():
                np.testing.assert_array_equal(found[name], array)


class TestARunThatWasCutShort:
    @pytest.mark.parametrize(
        "state",
        ["of parties", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)],
    )
    def test_it_goes_on_when_its_process_was_killed(
        self,
        server: Server,
        model_file: Path,
        rows_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        state: str,
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ROUNDS, **STATEFUL[state])
        before = cut_short(server, aggregator_id, lambda: kill_child(server))
        assert server.status(aggregator_id)["hint"] == (
            "the last whole round is kept; /train goes on after it"
        )
        answer = server.train(aggregator_id)
        assert answer.json()["message"] == f"finished after {ROUNDS} rounds"
        after, resumed_after = rounds_of(server, aggregator_id)
        assert after[: len(before)] == before
        assert resumed_after == len(before)
        status = server.status(aggregator_id)
        assert status["resumed_after"] == len(before)
        assert status["notes"][0] == (
            f"the run was cut short after round {len(before)}, and goes on from there"
        )
        assert str(server.state) not in " ".join(status["notes"])
        # The time that each took shows that the rounds before were not trained again.
        latest = folder_of(server, aggregator_id).checkpoint.latest()
        kept = [record.seconds for record in latest.snapshot.history[: len(before)]]
        assert kept == [json.loads(line)["seconds"] for line in before]
        assert_uninterrupted(server, aggregator_id, monkeypatch)
        server.stop(aggregator_id)
        assert not folder_of(server, aggregator_id).checkpoint.path.exists()

    @pytest.mark.slow
    def test_it_goes_on_when_the_server_was_killed_twice(
        self, tmp_path: Path, model_file: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(tmp_path / "state") as server:
            aggregator_id = server.ready(model_file, rows_file, rounds=ROUNDS)
            first = cut_short(server, aggregator_id, lambda: restart(server))
            answer = server.train(aggregator_id, wait=False)
            assert "goes on from there" in answer.json()["message"]
            wait_for(lambda: server.status(aggregator_id)["round"] > len(first))
            restart(server)
            assert server.status(aggregator_id)["state"] == "interrupted"
            second, _ = rounds_of(server, aggregator_id)
            assert second[: len(first)] == first
            assert server.train(aggregator_id).ok
            after, resumed_after = rounds_of(server, aggregator_id)
            assert (after[: len(second)], resumed_after) == (second, len(second))
            assert_uninterrupted(server, aggregator_id, monkeypatch)

    @pytest.mark.slow
    def test_a_run_that_waits_to_go_on_still_does_after_another_kill(
        self, tmp_path: Path, model_file: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(tmp_path / "state", "--workers", "1") as server:
            aggregator_id = server.ready(model_file, rows_file, rounds=ROUNDS)
            before = cut_short(server, aggregator_id, lambda: kill_child(server))
            other = server.ready(model_file, rows_file, rounds=100_000)
            server.train(other, wait=False)
            assert server.train(aggregator_id, wait=False).json()["state"] == "queued"
            restart(server)
            wait_for(lambda: server.status(aggregator_id)["state"] == "finished")
            after, resumed_after = rounds_of(server, aggregator_id)
            assert (after[: len(before)], resumed_after) == (before, len(before))
            assert_uninterrupted(server, aggregator_id, monkeypatch)

    @pytest.mark.slow
    def test_it_goes_on_from_the_checkpoint_before_a_damaged_one(
        self,
        server: Server,
        model_file: Path,
        rows_file: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ROUNDS)
        before = cut_short(server, aggregator_id, lambda: kill_child(server))
        checkpoint = folder_of(server, aggregator_id).checkpoint
        (checkpoint.rounds()[-1] / "weights.safetensors").write_bytes(b"damaged")
        # A machine that is gone held the lock.
        lock = {"pid": 1, "started": "1", "host": "a machine that is gone"}
        (checkpoint.path / ".lock").write_text(json.dumps(lock))
        assert server.train(aggregator_id).ok
        after, resumed_after = rounds_of(server, aggregator_id)
        assert (after[: len(before)], resumed_after) == (before, len(before))
        assert_uninterrupted(server, aggregator_id, monkeypatch)


class TestARunWithoutAUsableCheckpoint:
    @pytest.mark.slow
    def test_one_whose_checkpoint_is_gone_begins_anew(
        self, server: Server, model_file: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ROUNDS)
        before = cut_short(server, aggregator_id, lambda: kill_child(server))
        shutil.rmtree(folder_of(server, aggregator_id).checkpoint.path)
        assert server.train(aggregator_id).ok
        status = server.status(aggregator_id)
        assert status["resumed_after"] == 0
        assert status["notes"][0] == (
            f"the run was cut short after round {len(before)}, and begins anew, because its "
            "checkpoint is gone"
        )
        assert_uninterrupted(server, aggregator_id, monkeypatch)

    @pytest.mark.parametrize(
        ("file", "content"),
        [
            pytest.param("weights.safetensors", b"damaged", marks=pytest.mark.slow),
            pytest.param("checkpoint.json", b"{", marks=pytest.mark.slow),
            pytest.param("checkpoint.json", b'{"format": 0}', marks=pytest.mark.slow),
            pytest.param("records.jsonl", b"", marks=pytest.mark.slow),
        ],
    )
    def test_one_whose_checkpoints_are_damaged_begins_anew(
        self,
        server: Server,
        model_file: Path,
        rows_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        file: str,
        content: bytes,
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ROUNDS)
        cut_short(server, aggregator_id, lambda: kill_child(server))
        for path in folder_of(server, aggregator_id).checkpoint.rounds():
            (path / file).write_bytes(content)
        assert server.train(aggregator_id).ok
        status = server.status(aggregator_id)
        assert (status["state"], status["resumed_after"]) == ("finished", 0)
        assert status["notes"][0].startswith("the run begins anew: the checkpoint checkpoint/round")
        assert str(server.state) not in json.dumps(status)
        assert_uninterrupted(server, aggregator_id, monkeypatch)

    @pytest.mark.slow
    def test_one_of_other_rows_begins_anew(
        self, server: Server, model_file: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ROUNDS)
        cut_short(server, aggregator_id, lambda: kill_child(server))
        folder = folder_of(server, aggregator_id)
        for path in folder.checkpoint.rounds():
            about = json.loads((path / "checkpoint.json").read_text())
            about["rows_sha256"]["party 1"] = "of other rows"
            (path / "checkpoint.json").write_text(json.dumps(about))
        assert server.train(aggregator_id).ok
        assert server.status(aggregator_id)["notes"][0] == (
            "the run begins anew: the rows of party 1 are not those that the run was begun with"
        )
        assert_uninterrupted(server, aggregator_id, monkeypatch)
