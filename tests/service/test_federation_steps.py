"""The steps of a federation over real HTTP, in order and out of order."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from serving import ENDLESS, Server, save_rows, wait_for

from fusion_nb import federate
from fusion_nb.data import image_datasets


class TestResults:
    @pytest.mark.slow
    def test_the_curve_equals_that_of_a_run_in_the_kernel(
        self, server: Server, tmp_path: Path, model_file: Path
    ) -> None:
        paths = [save_rows(tmp_path / f"{i}.npz", 100 * i, 100) for i in range(2)]
        aggregator_id = server.new_aggregator(model_file, rounds=3, lr=0.1, batch_size=16, seed=3)
        for path in paths:
            server.start_party(aggregator_id, path)
        found = server.train(aggregator_id).json()
        data = {
            f"party {i + 1}": image_datasets.Npz(str(path)).get_data()[0]
            for i, path in enumerate(paths)
        }
        run = federate(str(model_file), data, rounds=3, lr=0.1, batch_size=16, seed=3)
        assert [record["metrics"] for record in found["history"]] == [
            dict(record.metrics) for record in run.history
        ]

    @pytest.mark.slow
    def test_the_fused_model_is_evaluated_on_the_aggregators_test_rows(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, x_test=np.zeros((4, 28, 28), np.uint8), y_test=np.arange(4))
        files = {"model_file": ("m", model_file.read_bytes()), "test": ("t", buffer.getvalue())}
        fields = {"model_type": "pytorch", "num_parties": 1, "rounds": 1}
        aggregator_id = server.call("POST", "/start-aggregator", data=fields, files=files).json()[
            "aggregator_id"
        ]
        server.start_party(aggregator_id, rows_file)
        # Four equal images of four classes: whatever the model says of them, one in four is right,
        # or none.
        assert server.train(aggregator_id).json()["history"][0]["metrics"]["accuracy"] in (0, 0.25)

    def test_options_of_a_run_are_honoured(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        fields = {
            "fusion_algorithm": "fedprox:mu=0.1",
            "fraction": 0.5,
            "rounds": 9,
            "until": "loss <= 100",
        }
        aggregator_id = server.ready(model_file, rows_file, num_parties=4, **fields)
        found = server.train(aggregator_id).json()
        assert found["reason"].startswith("loss")
        assert len(found["history"]) == 1
        assert len(found["history"][0]["cohort"]) == 2

    def test_parties_have_the_names_that_they_give(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file, rounds=1)
        assert (
            server.start_party(aggregator_id, rows_file, party="Klinik Süd").json()["party"]
            == "Klinik Süd"
        )
        assert (
            server.start_party(aggregator_id, rows_file, party="Klinik Süd").json()["field"]
            == "party"
        )
        assert server.start_party(aggregator_id, rows_file).json()["party"] == "party 2"
        assert server.train(aggregator_id).json()["history"][0]["cohort"] == [
            "Klinik Süd",
            "party 2",
        ]


class TestOrderOfSteps:
    def test_steps_out_of_order_are_refused(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file, rounds=1)
        early = server.train(aggregator_id)
        assert early.status_code == 409
        assert early.json()["error"] == "2 of 2 parties have not registered yet"
        assert server.call("GET", f"/weights/{aggregator_id}").status_code == 404
        assert [
            server.start_party(aggregator_id, rows_file).json()["remaining"] for _ in range(2)
        ] == [
            1,
            0,
        ]
        assert server.start_party(aggregator_id, rows_file).status_code == 409
        assert server.train(aggregator_id).ok
        assert server.train(aggregator_id).status_code == 409
        assert server.stop(aggregator_id).ok
        assert server.stop(aggregator_id).ok
        assert server.train(aggregator_id).json()["error"] == "the federation has ended"
        assert server.start_party(aggregator_id, rows_file).status_code == 409
        assert server.call("GET", f"/weights/{aggregator_id}").ok

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/status/x"), ("GET", "/rounds/x"), ("GET", "/weights/x")]
    )
    def test_an_unknown_aggregator_is_refused(self, server: Server, method: str, path: str) -> None:
        answer = server.call(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"] == "there is no such aggregator"

    def test_stopping_before_training_deletes_data(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file)
        assert server.stop(aggregator_id).json()["state"] == "stopped"
        assert not list((server.state / "aggregators" / aggregator_id).rglob("data*"))

    def test_training_that_was_stopped_early_answers_with_its_last_round(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ENDLESS)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(server.train, aggregator_id)
            wait_for(lambda: server.status(aggregator_id)["round"] >= 2)
            stopped = server.stop(aggregator_id)
            found = waiting.result().json()
        assert found["state"] == stopped.json()["state"] == "stopped"
        assert len(found["history"]) == found["round"] >= 2

    def test_runs_wait_in_a_queue_and_can_be_stopped_there(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        first, second, third = (
            server.ready(model_file, rows_file, rounds=rounds) for rounds in (ENDLESS, 1, 1)
        )
        for aggregator_id in (first, second, third):
            assert server.train(aggregator_id, wait=False).status_code == 202
        wait_for(lambda: server.status(first)["state"] == "training")
        assert server.status(second)["ahead"] == 0
        assert server.status(third)["ahead"] == 1
        assert server.train(third).status_code == 409
        assert server.stop(second).json()["state"] == "stopped"  # while it waits
        assert server.status(third)["state"] == "queued"
        server.stop(first)
        wait_for(lambda: server.status(third)["state"] == "finished")


@pytest.mark.slow
def test_parallel_requests_are_neither_lost_nor_mixed_up(
    server: Server, model_file: Path, rows_file: Path
) -> None:
    """100 registrations and 100 reads of a status, while a run trains."""
    busy = server.ready(model_file, rows_file, rounds=ENDLESS)
    server.train(busy, wait=False)
    ids = [server.new_aggregator(model_file, num_parties=5, seed=number) for number in range(20)]

    def register(number: int) -> tuple[str, requests.Response]:
        aggregator_id = ids[number % 20]
        # Each with a count of rows of its own, so that one that went astray would be found.
        buffer = io.BytesIO()
        with np.load(rows_file) as stored:
            count = 20 + number % 20
            np.savez(buffer, x_train=stored["x_train"][:count], y_train=stored["y_train"][:count])
        return aggregator_id, server.start_party(
            aggregator_id, buffer.getvalue(), party=f"{number}"
        )

    def ask(number: int) -> tuple[str, requests.Response]:
        aggregator_id = ids[number % 20]
        return aggregator_id, server.call("GET", f"/status/{aggregator_id}")

    with ThreadPoolExecutor(32) as pool:
        registered = [pool.submit(register, number) for number in range(100)]
        asked = [pool.submit(ask, number) for number in range(100)]
        for future in asked:
            aggregator_id, answer = future.result()
            assert (answer.status_code, answer.json()["aggregator_id"]) == (200, aggregator_id)
        assert [future.result()[1].status_code for future in registered] == [200] * 100
    for number, aggregator_id in enumerate(ids):
        status = server.status(aggregator_id)
        assert status["remaining"] == 0
        assert status["options"]["seed"] == number
        assert {int(party["party"]) % 20 for party in status["parties"]} == {number}
        assert {party["num_examples"] for party in status["parties"]} == {20 + number}
    assert server.status(busy)["state"] == "training"
    assert server.stop(busy).json()["state"] == "stopped"
