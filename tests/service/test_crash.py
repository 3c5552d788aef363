"""Processes that die: the server at random points, a training process, one that hangs, one that
takes all memory."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from serving import Server, save_model, save_rows, serving, wait_for

from fusion_nb.service.storage import atomic
from fusion_nb.service.storage.run_folder import Folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model.pt")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_rows(tmp_path_factory.mktemp("rows") / "rows.npz")


def trainers(server: Server) -> list[psutil.Process]:
    """Return the training processes of a server."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [
        child for child in children if "fusion_nb.service.processes.training" in child.cmdline()
    ]


class _Answered:
    """What a client was told before the server died, and what it had asked for and not heard of."""

    def __init__(self) -> None:
        self.aggregators: set[str] = set()
        self.parties: dict[str, set[str]] = {}
        self.trained: dict[str, int] = {}
        self.begun: set[str] = set()

    def work(
        self, server: Server, model: Path, rows: Path, name: str, ended: threading.Event
    ) -> None:
        """Register, train and fetch without end, and keep what is answered."""
        number = 0
        while not ended.is_set():
            try:
                number += 1
                aggregator_id = server.start_aggregator(model, rounds=2).json()["aggregator_id"]
                self.aggregators.add(aggregator_id)
                for party in range(2):
                    registered = server.start_party(
                        aggregator_id, rows, party=f"{name} {number} {party}"
                    ).json()
                    self.parties.setdefault(aggregator_id, set()).add(registered["party"])
                if number % 2:
                    self.begun.add(aggregator_id)
                    self.trained[aggregator_id] = server.train(aggregator_id).json()["round"]
            except requests.RequestException:
                return


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]
)
def test_a_server_that_is_killed_comes_back_with_all_that_it_answered(
    tmp_path: Path, model: Path, rows: Path, seed: int
) -> None:
    draw, answered = random.Random(seed), _Answered()
    server = Server(tmp_path / "state", "--workers", "2")
    try:
        for attempt in range(2):
            long = server.ready(model, rows, rounds=100_000)
            server.train(long, wait=False)
            ended = threading.Event()
            work = [
                threading.Thread(
                    target=answered.work, args=(server, model, rows, f"{attempt} {client}", ended)
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
            assert not list((server.state / "aggregators").rglob(f"{atomic.DRAFT}*"))
            assert server.stop(long).ok
    finally:
        server.kill()


def test_an_interrupted_run_can_be_trained_anew(tmp_path: Path, model: Path, rows: Path) -> None:
    with serving(tmp_path / "state") as server:
        aggregator_id = server.ready(model, rows, rounds=150)
        waiting = server.ready(model, rows, rounds=1)
        server.train(aggregator_id, wait=False)
        server.train(waiting, wait=False)
        wait_for(lambda: server.status(aggregator_id)["round"] > 1)
        server.kill()
        server.start()
        assert server.status(aggregator_id)["state"] == "interrupted"
        wait_for(lambda: server.status(waiting)["state"] == "finished")  # its turn is not lost
        assert len(server.train(aggregator_id).json()["history"]) == 150


def test_a_folder_that_was_damaged_keeps_no_other_away(
    tmp_path: Path, model: Path, rows: Path
) -> None:
    with serving(tmp_path / "state") as server:
        ids = [server.ready(model, rows, rounds=1) for _ in range(3)]
        server.kill()
        (server.state / "aggregators" / ids[0] / "aggregator.json").write_text("{")
        (server.state / "aggregators" / ids[1] / "run.json").touch()
        (server.state / "aggregators" / ids[2] / "parties" / "Thumbs.db").touch()
        server.start()
        assert server.call("GET", f"/status/{ids[0]}").status_code == 404
        assert server.train(ids[2]).ok


def test_no_trainer_outlives_the_server(tmp_path: Path, model: Path, rows: Path) -> None:
    with serving(tmp_path / "state") as server:
        server.train(server.ready(model, rows, rounds=100_000), wait=False)
        wait_for(lambda: trainers(server))
        left = psutil.Process(server.process.pid).children(recursive=True)
        server.kill()
        assert not psutil.wait_procs(left, timeout=10)[1]


@pytest.mark.slow
def test_a_server_that_is_told_to_end_leaves_runs_as_interrupted(
    tmp_path: Path, model: Path, rows: Path
) -> None:
    with serving(tmp_path / "state") as server:
        aggregator_id = server.ready(model, rows, rounds=100_000)
        server.train(aggregator_id, wait=False)
        wait_for(lambda: server.status(aggregator_id)["round"])
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 10
        server.start()
        assert server.status(aggregator_id)["state"] == "interrupted"


def test_who_waits_is_told_when_the_server_ends(tmp_path: Path, model: Path, rows: Path) -> None:
    with serving(tmp_path / "state") as server, ThreadPoolExecutor() as pool:
        aggregator_id = server.ready(model, rows, rounds=100_000)
        waiting = pool.submit(server.train, aggregator_id)
        wait_for(lambda: server.status(aggregator_id)["round"])
        server.process.terminate()
        answer = waiting.result()
        assert (answer.status_code, answer.json()["error"]) == (
            503,
            "the server ends, and interrupts the run",
        )
        server.close()
        server.start()


def test_who_follows_a_run_is_not_shown_another(tmp_path: Path, model: Path, rows: Path) -> None:
    with serving(tmp_path / "state") as server, ThreadPoolExecutor() as pool:
        aggregator_id = server.ready(model, rows, rounds=100_000)
        server.train(aggregator_id, wait=False)
        following = pool.submit(server.call, "GET", f"/rounds/{aggregator_id}")
        wait_for(lambda: server.status(aggregator_id)["round"] > 20)
        trainers(server)[0].kill()
        wait_for(lambda: server.train(aggregator_id, wait=False).status_code == 202)
        seen = [json.loads(line)["round"] for line in following.result().text.splitlines()]
        assert seen == list(range(1, len(seen) + 1))
        server.stop(aggregator_id)


def test_a_slow_upload_holds_nobody_up(tmp_path: Path, model: Path, rows: Path) -> None:
    with (
        serving(tmp_path / "state", "--inspect-seconds", "12") as server,
        ThreadPoolExecutor() as pool,
    ):
        aggregator_id = server.ready(model, rows, num_parties=2)
        other = server.start_aggregator(model).json()["aggregator_id"]
        server.start_party(other, rows)
        children = psutil.Process(server.process.pid).children()
        next(
            child
            for child in children
            if "fusion_nb.service.processes.inspection" in child.cmdline()
        ).suspend()
        slow = pool.submit(server.start_party, other, rows)
        time.sleep(0.5)
        began = time.monotonic()
        assert server.stop(other).ok
        assert server.stop(aggregator_id).ok
        assert server.ready(model, rows)  # by the second inspector
        assert time.monotonic() - began < 10
        assert slow.result().status_code == 422
        assert "took more than 12 seconds" in slow.result().json()["error"]
        assert server.ready(model, rows)


def test_a_trainer_that_dies_ends_its_own_run_alone(
    tmp_path: Path, model: Path, rows: Path
) -> None:
    with serving(tmp_path / "state", "--workers", "2") as server:
        first, second = (server.ready(model, rows, rounds=100_000) for _ in range(2))
        for aggregator_id in (first, second):
            server.train(aggregator_id, wait=False)
        wait_for(lambda: server.status(first)["round"] and server.status(second)["round"])
        next(
            process for process in trainers(server) if first in " ".join(process.cmdline())
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


_HANDLERS = """
import numpy as np

class Mine:
    def __init__(self, data_config):
        self.path = data_config["npz_file"]

    def get_data(self):
        with np.load(self.path) as stored:
            return (stored["x_train"], stored["y_train"]), None

class Hangs(Mine):
    def get_data(self):
        while True:
            pass

class Greedy(Mine):
    def get_data(self):
        return [np.ones(1 << 30) for _ in range(20)]

class Leaves(Mine):
    def get_data(self):
        import os
        os._exit(3)

class Raises(Mine):
    def get_data(self):
        raise ValueError("Alice Smith, 0 years")

class Starts(Mine):
    def get_data(self):
        import subprocess
        subprocess.Popen(["sleep", "7654"])
        return super().get_data()

class Talks(Mine):
    def get_data(self):
        print("Alice Smith, 0 years\\n" * 200_000)
        return super().get_data()
"""


class TestCustomCode:
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Server:
        options = ("--allow-custom-code", "--silence", "6", "--max-memory", "6G")
        with serving(tmp_path_factory.mktemp("state"), *options) as server:
            yield server

    def ready(self, server: Server, model: Path, rows: Path, name: str) -> str:
        aggregator_id: str = server.start_aggregator(model, num_parties=1, rounds=1).json()[
            "aggregator_id"
        ]
        answer = server.start_party(
            aggregator_id, rows, name, files={"custom_data_handler": ("h.py", _HANDLERS)}
        )
        assert answer.ok, answer.text
        return aggregator_id

    def test_a_handler_of_the_clients_own(self, server: Server, model: Path, rows: Path) -> None:
        assert server.train(self.ready(server, model, rows, "Mine")).json()["round"] == 1

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("Hangs", "the training process was lost: no batch ended in 6 seconds"),
            ("Greedy", "there was not enough memory"),
            ("Leaves", "the training process was lost: it ended with status 3"),
            ("Raises", "the data handler of party 1 failed: ValueError"),
        ],
    )
    def test_what_goes_wrong_ends_that_run_alone(
        self, server: Server, model: Path, rows: Path, name: str, error: str
    ) -> None:
        answer = server.train(self.ready(server, model, rows, name))
        assert (answer.status_code, error in answer.json()["error"]) == (422, True), answer.text
        assert server.train(self.ready(server, model, rows, "Mine")).ok

    def test_one_that_hangs_is_stopped(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = self.ready(server, model, rows, "Hangs")
        server.train(aggregator_id, wait=False)
        wait_for(lambda: trainers(server))
        assert server.stop(aggregator_id).ok

    def test_a_class_that_is_not_there(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        files = {"custom_data_handler": ("h.py", "class Other: ...")}
        answer = server.start_party(aggregator_id, rows, "Mine", files=files)
        assert (answer.status_code, answer.json()["hint"]) == (422, "it has: Other")

    def test_what_it_starts_ends_with_the_run(
        self, server: Server, model: Path, rows: Path
    ) -> None:
        assert server.train(self.ready(server, model, rows, "Starts")).ok
        assert not [
            p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "7654"]
        ]

    def test_what_it_prints_is_kept_in_part_and_not_for_long(
        self, server: Server, model: Path, rows: Path
    ) -> None:
        aggregator_id = self.ready(server, model, rows, "Talks")
        assert server.train(aggregator_id).ok
        path = server.state / "aggregators" / aggregator_id / "log.txt"
        assert 1000 < path.stat().st_size <= 1 << 20
        server.stop(aggregator_id)
        assert not path.exists()

    def test_nothing_of_the_rows_is_told(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = self.ready(server, model, rows, "Raises")
        answers = [server.train(aggregator_id).text, json.dumps(server.status(aggregator_id))]
        assert not any("Alice" in answer for answer in answers)

    def test_a_module_that_is_too_large(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        files = {"custom_data_handler": ("h.py", "class Mine: ...\n" + "#" * (1 << 20))}
        assert server.start_party(aggregator_id, rows, "Mine", files=files).status_code == 413

    def test_a_module_that_is_none(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        answer = server.start_party(
            aggregator_id, rows, "Mine", files={"custom_data_handler": ("h.py", "class {")}
        )
        assert answer.status_code == 422


def test_one_server_for_a_folder(tmp_path: Path) -> None:
    with serving(tmp_path / "state"):
        command = [
            sys.executable,
            "-m",
            "fusion_nb.cli",
            "serve",
            "--port",
            "0",
            "--state",
            str(tmp_path / "state"),
        ]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 2
    assert "another server has the folder" in second.stderr


class TestFolder:
    def test_half_a_record_is_cut_off(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path)
        (tmp_path / "rounds.jsonl").write_text('{"round": 1}\n{"rou')
        (tmp_path / ".draft-x").write_text("half")
        folder.mend()
        assert (tmp_path / "rounds.jsonl").read_text() == '{"round": 1}\n'
        assert folder.lines() == (['{"round": 1}'], 13)
        assert not (tmp_path / ".draft-x").exists()

    def test_weights_of_a_round_without_a_record_don_t_count(self, tmp_path: Path) -> None:
        import numpy as np

        folder = Folder(tmp_path)
        folder.keep_round(1, '{"round": 1}', {"file": np.zeros(2)}, best=True)
        atomic.write(
            tmp_path / "weights-2.npz",
            lambda file: file.write(b"of a round that was not recorded any more"),
        )
        assert folder.weights("last")[1] == 1
        assert folder.weights("best")[1] == 1

    def test_a_file_is_there_whole_or_not_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "x.json"
        atomic.write_json(path, {"a": 1})
        with pytest.raises(ValueError, match="JSON"):
            atomic.write_json(path, {"a": float("nan")})
        assert atomic.read_json(path) == {"a": 1}

        def fail(file: object) -> None:
            raise OSError("the disk is full")

        with pytest.raises(OSError, match="full"):
            atomic.write(path, fail)
        assert [found.name for found in tmp_path.iterdir()] == ["x.json"]
