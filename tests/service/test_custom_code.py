"""Data handlers of clients: code that hangs, crashes, prints or takes all memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from serving import Server, serving, wait_for

HANDLERS = """
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


def ready(server: Server, model: Path, rows: Path, name: str) -> str:
    """Return the id of an aggregator whose one party has a data handler of its own."""
    aggregator_id = server.new_aggregator(model, num_parties=1, rounds=1)
    files = {"custom_data_handler": ("h.py", HANDLERS)}
    answer = server.start_party(aggregator_id, rows, name, files=files)
    assert answer.ok, answer.text
    return aggregator_id


@pytest.mark.slow
def test_a_handler_that_hangs_is_ended(tmp_path: Path, model_file: Path, rows_file: Path) -> None:
    options = ("--allow-custom-code", "--silence", "2")
    with serving(tmp_path / "state", *options) as server:
        answer = server.train(ready(server, model_file, rows_file, "Hangs"))
        assert answer.status_code == 422
        error = "the training process was lost: no batch ended in 2 seconds"
        assert answer.json()["error"] == error
        assert server.ready(model_file, rows_file)


class TestCustomCode:
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        options = ("--allow-custom-code", "--max-memory", "6G")
        with serving(tmp_path_factory.mktemp("state"), *options) as server:
            yield server

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            pytest.param("Greedy", "there was not enough memory", marks=pytest.mark.slow),
            pytest.param(
                "Leaves",
                "the training process was lost: it ended with status 3",
                marks=pytest.mark.slow,
            ),
            ("Raises", "the data handler of party 1 failed: ValueError"),
        ],
    )
    def test_a_handler_that_fails_ends_only_its_own_run_and_another_trains(
        self, server: Server, model_file: Path, rows_file: Path, name: str, error: str
    ) -> None:
        answer = server.train(ready(server, model_file, rows_file, name))
        assert (answer.status_code, error in answer.json()["error"]) == (422, True), answer.text
        assert server.train(ready(server, model_file, rows_file, "Mine")).json()["round"] == 1

    @pytest.mark.slow
    def test_a_handler_that_hangs_is_stopped(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = ready(server, model_file, rows_file, "Hangs")
        server.train(aggregator_id, wait=False)
        wait_for(lambda: server.children("training"))
        assert server.stop(aggregator_id).ok

    def test_a_module_without_the_class_is_refused(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        files = {"custom_data_handler": ("h.py", "class Other: ...")}
        answer = server.start_party(aggregator_id, rows_file, "Mine", files=files)
        assert (answer.status_code, answer.json()["hint"]) == (422, "it has: Other")

    @pytest.mark.slow
    def test_programs_that_it_starts_end_with_the_run(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        assert server.train(ready(server, model_file, rows_file, "Starts")).ok
        assert not [
            p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "7654"]
        ]

    def test_its_output_is_limited_and_deleted_by_stop(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = ready(server, model_file, rows_file, "Talks")
        assert server.train(aggregator_id).ok
        path = server.state / "aggregators" / aggregator_id / "log.txt"
        assert 1000 < path.stat().st_size <= 1 << 20
        server.stop(aggregator_id)
        assert not path.exists()

    def test_errors_do_not_quote_rows(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = ready(server, model_file, rows_file, "Raises")
        answers = [server.train(aggregator_id).text, json.dumps(server.status(aggregator_id))]
        assert not any("Alice" in answer for answer in answers)

    def test_a_module_that_is_too_large_is_refused(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        files = {"custom_data_handler": ("h.py", "class Mine: ...\n" + "#" * (1 << 20))}
        assert server.start_party(aggregator_id, rows_file, "Mine", files=files).status_code == 413

    def test_a_file_that_is_no_module_is_refused(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        answer = server.start_party(
            aggregator_id, rows_file, "Mine", files={"custom_data_handler": ("h.py", "class {")}
        )
        assert answer.status_code == 422
