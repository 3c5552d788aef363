"""kill -9 at random moments of the service and of a training process: no round that was told is
missing after it, every file of the state can be read, and the run goes on to the same curve."""

from __future__ import annotations

import io
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from serving import ENDLESS, PATIENCE, Server, serving, wait_for

from fusion_nb.core import history
from fusion_nb.core.files import storage
from fusion_nb.runs.run import Run
from fusion_nb.service.processes import sandbox
from fusion_nb.service.storage.run_folder import RunFolder

#: Seconds after which a process is killed at the latest: a training process takes some to start.
LATEST = 6.0


class Listener:
    """A client that follows a run, and keeps the rounds that it was told until the server is gone.

    told: the lines of the rounds
    """

    def __init__(self, server: Server, aggregator_id: str) -> None:
        self.told: list[str] = []
        self._address = f"{server.address}/rounds/{aggregator_id}"
        self._auth = (server.key[0], server.key[1])
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            with requests.get(
                self._address, auth=self._auth, stream=True, timeout=PATIENCE
            ) as answer:
                text = b""
                for part in answer.iter_content(chunk_size=None):
                    *lines, text = (text + part).split(b"\n")
                    self.told += [line.decode() for line in lines]
        except requests.RequestException:
            return

    def close(self) -> list[str]:
        """Wait until the server is gone, or the run has ended, and return the rounds."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.told


def kill(server: Server, target: str) -> None:
    """Kill the service, its training process, or both; start the service again where it is gone."""
    children = server.children("training")
    if target != "service":
        for child in children:
            child.kill()
    if target != "training" or not children:
        server.kill()
        server.start()


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without the time that its round took."""
    return {name: value for name, value in record.items() if name != "seconds"}


def assert_readable(server: Server, folder: RunFolder, num_rounds: int) -> None:
    """Read every file of the state, as the next server does, and the weights over HTTP."""
    for path in server.state.rglob("*.json"):
        assert storage.read_json(path), path
    assert not list(folder.path.rglob(f"{storage.DRAFT}*.json"))
    records, end = folder.rounds.records()
    assert end == ((folder.path / "rounds.jsonl").stat().st_size if records else 0)
    assert [json.loads(line)["round"] for line in records] == list(range(1, num_rounds + 1))
    if num_rounds:
        for which in ("last", "best"):
            answer = server.call(
                "GET",
                f"/weights/{folder.path.name}",
                params={"format": "npz", "which": which},
            )
            with np.load(io.BytesIO(answer.content)) as found:
                assert all(np.isfinite(found[name]).all() for name in found.files)
        latest = folder.checkpoint.latest()
        assert num_rounds <= latest.round <= num_rounds + 1


def check_kills(
    folder: Path,
    files: tuple[Path, Path],
    moments: list[tuple[str, float]],
    monkeypatch: pytest.MonkeyPatch,
    **options: Any,
) -> None:
    """Train one run, which is killed at each of some moments, and taken up after each.

    moments: the process that is killed, and the seconds after which it is
    """
    with serving(folder / "state") as server:
        aggregator_id = server.ready(*files, rounds=ENDLESS, **options)
        saved = RunFolder(server.state / "aggregators" / aggregator_id)
        before: list[str] = []
        for target, seconds in moments:
            answer = server.train(aggregator_id, wait=False)
            assert answer.status_code == 202, answer.text
            listener = Listener(server, aggregator_id)
            time.sleep(seconds)
            kill(server, target)
            told = listener.close()
            wait_for(lambda: server.status(aggregator_id)["state"] in ("failed", "interrupted"))
            status = server.status(aggregator_id)
            records, _ = saved.rounds.records()
            assert records[: len(told)] == told, (target, seconds)
            assert records[: len(before)] == before, (target, seconds)
            assert status["round"] == len(records)
            assert status["resumed_after"] in (0, len(before))
            assert_readable(server, saved, len(records))
            before = records
        server.train(aggregator_id, wait=False)
        wait_for(lambda: server.status(aggregator_id)["round"] > len(before) + 1)
        kill(server, "both")
        wait_for(lambda: server.status(aggregator_id)["state"] == "interrupted")
        assert server.status(aggregator_id)["resumed_after"] == len(before)
        records, _ = saved.rounds.records()
        assert records[: len(before)] == before
        monkeypatch.chdir(saved.path)
        spec, namespace = sandbox.spec_and_namespace(saved)
        whole = (
            Run(spec.model_copy(update={"rounds": len(records)}), namespace, name="run")
            .start()
            .wait()
        )
        assert [comparable(json.loads(line)) for line in records] == [
            comparable(json.loads(json.dumps(history.to_dict(record)))) for record in whole.records
        ]
        assert server.stop(aggregator_id).ok


@pytest.mark.slow
def test_no_round_that_was_told_is_lost(
    tmp_path: Path, model_file: Path, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(0)
    moments = [("training", draw.uniform(0, LATEST)), ("service", draw.uniform(0, LATEST))]
    check_kills(
        tmp_path, (model_file, rows_file), moments, monkeypatch, fusion_algorithm="scaffold"
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_round_that_was_told_is_lost_at_any_moment(
    tmp_path: Path,
    model_file: Path,
    rows_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    draw = random.Random(seed + 1)
    targets = ["service", "training", "both"] * 3
    moments = [(target, draw.uniform(0, LATEST)) for target in targets]
    options = {"fusion_algorithm": ["scaffold", "fedadam", "fedavg", "scaffold"][seed]}
    if seed == 3:
        options = {"personal": "ditto"}
    check_kills(tmp_path, (model_file, rows_file), moments, monkeypatch, **options)
