"""Processes that die: the server at random points, and a training process."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from serving import ENDLESS, PATIENCE, Server, serving, wait_for

from fusion_nb.core.files import storage


class Answers:
    """The answers that clients got before the server was killed."""

    def __init__(self) -> None:
        self.aggregators: set[str] = set()
        self.parties: dict[str, set[str]] = {}
        self.trained: dict[str, int] = {}
        self.begun: set[str] = set()

    def work(
        self, server: Server, model_file: Path, rows_file: Path, name: str, ended: threading.Event
    ) -> None:
        """Register and train in a loop, and record the answers."""
        number = 0
        while not ended.is_set():
            try:
                number += 1
                aggregator_id = server.new_aggregator(model_file, rounds=2)
                self.aggregators.add(aggregator_id)
                for party in range(2):
                    registered = server.start_party(
                        aggregator_id, rows_file, party=f"{name} {number} {party}"
                    ).json()
                    self.parties.setdefault(aggregator_id, set()).add(registered["party"])
                if number % 2:
                    self.begun.add(aggregator_id)
                    self.trained[aggregator_id] = server.train(aggregator_id).json()["round"]
            except requests.RequestException:
                return


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_killed_server_restarts_with_everything_that_it_answered(
    tmp_path: Path, model_file: Path, rows_file: Path, seed: int
) -> None:
    draw, answered = random.Random(seed), Answers()
    server = Server(tmp_path / "state", "--workers", "2")
    try:
        for attempt in range(2):
            long = server.ready(model_file, rows_file, rounds=ENDLESS)
            server.train(long, wait=False)
            ended = threading.Event()
            work = [
                threading.Thread(
                    target=answered.work,
                    args=(server, model_file, rows_file, f"{attempt} {client}", ended),
                )
                for client in range(3)
            ]
            for thread in work:
                thread.start()
            known = len(answered.trained)
            wait_for(lambda known=known: len(answered.trained) > known)
            time.sleep(draw.uniform(0, 2))
            seen = server.status(long)["round"]
            server.kill()
            ended.set()
            for thread in work:
                thread.join()
            server.start()
            status = server.status(long)
            assert status["state"] == "interrupted"
            assert status["round"] >= seen
            assert "server ended while it trained" in status["reason"]
            if status["round"]:
                weights = server.call("GET", f"/weights/{long}").json()
                assert weights["round"] == status["round"]
                best = server.call(
                    "GET", f"/weights/{long}", params={"which": "best", "format": "pt"}
                )
                assert best.ok, best.text
            records = server.call("GET", f"/rounds/{long}").text.splitlines()
            assert [json.loads(line)["round"] for line in records] == list(
                range(1, status["round"] + 1)
            )
            for aggregator_id in answered.aggregators:
                found = server.status(aggregator_id)
                assert answered.parties.get(aggregator_id, set()) <= {
                    party["party"] for party in found["parties"]
                }
                if aggregator_id in answered.trained:
                    assert (found["state"], found["round"]) == (
                        "finished",
                        answered.trained[aggregator_id],
                    )
                    assert server.call("GET", f"/weights/{aggregator_id}").ok
            assert not list((server.state / "aggregators").rglob(f"{storage.DRAFT}*"))
            assert server.stop(long).ok
    finally:
        server.kill()


@pytest.mark.slow
def test_an_interrupted_run_can_be_trained_to_its_end(
    tmp_path: Path, model_file: Path, rows_file: Path
) -> None:
    with serving(tmp_path / "state") as server:
        aggregator_id = server.ready(model_file, rows_file, rounds=150)
        waiting = server.ready(model_file, rows_file, rounds=1)
        server.train(aggregator_id, wait=False)
        server.train(waiting, wait=False)
        wait_for(lambda: server.status(aggregator_id)["round"] > 1)
        server.kill()
        server.start()
        assert server.status(aggregator_id)["state"] == "interrupted"
        wait_for(lambda: server.status(waiting)["state"] == "finished")  # its turn is not lost
        assert len(server.train(aggregator_id).json()["history"]) == 150


@pytest.mark.slow
def test_a_damaged_folder_does_not_affect_the_others(
    tmp_path: Path, model_file: Path, rows_file: Path
) -> None:
    with serving(tmp_path / "state") as server:
        ids = [server.ready(model_file, rows_file, rounds=1) for _ in range(3)]
        server.kill()
        (server.state / "aggregators" / ids[0] / "aggregator.json").write_text("{")
        (server.state / "aggregators" / ids[1] / "run.json").touch()
        (server.state / "aggregators" / ids[2] / "parties" / "Thumbs.db").touch()
        server.start()
        assert server.call("GET", f"/status/{ids[0]}").status_code == 404
        assert server.train(ids[2]).ok


@pytest.mark.slow
def test_no_training_process_outlives_the_server(
    tmp_path: Path, model_file: Path, rows_file: Path
) -> None:
    with serving(tmp_path / "state") as server:
        server.train(server.ready(model_file, rows_file, rounds=ENDLESS), wait=False)
        wait_for(lambda: server.children("training"))
        left = psutil.Process(server.process.pid).children(recursive=True)
        server.kill()
        assert not psutil.wait_procs(left, timeout=PATIENCE)[1]


@pytest.mark.slow
def test_a_client_that_follows_a_run_does_not_get_the_next_one(
    tmp_path: Path, model_file: Path, rows_file: Path
) -> None:
    with serving(tmp_path / "state") as server, ThreadPoolExecutor() as pool:
        aggregator_id = server.ready(model_file, rows_file, rounds=ENDLESS)
        server.train(aggregator_id, wait=False)
        following = pool.submit(server.call, "GET", f"/rounds/{aggregator_id}")
        wait_for(lambda: server.status(aggregator_id)["round"] > 20)
        server.children("training")[0].kill()
        wait_for(lambda: server.train(aggregator_id, wait=False).status_code == 202)
        seen = [json.loads(line)["round"] for line in following.result().text.splitlines()]
        assert seen == list(range(1, len(seen) + 1))
        server.stop(aggregator_id)


@pytest.mark.slow
def test_a_training_process_that_dies_ends_only_its_own_run(
    tmp_path: Path, model_file: Path, rows_file: Path
) -> None:
    with serving(tmp_path / "state", "--workers", "2") as server:
        first, second = (server.ready(model_file, rows_file, rounds=ENDLESS) for _ in range(2))
        for aggregator_id in (first, second):
            server.train(aggregator_id, wait=False)
        wait_for(lambda: server.status(first)["round"] and server.status(second)["round"])
        next(
            process
            for process in server.children("training")
            if first in " ".join(process.cmdline())
        ).send_signal(signal.SIGKILL)
        wait_for(lambda: server.status(first)["state"] == "failed")
        found = server.status(first)
        assert (
            found["error"]
            == "the training process was lost: it was killed; most likely memory ran out"
        )
        assert server.call("GET", f"/weights/{first}").json()["round"] == found["round"]
        assert server.status(second)["state"] == "training"
        assert server.train(first, wait=False).status_code == 202
        for aggregator_id in (first, second):
            assert server.stop(aggregator_id).ok
