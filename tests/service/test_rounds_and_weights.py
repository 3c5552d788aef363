"""The rounds of a run while it trains, and its weights in every format."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from serving import ENDLESS, Server, wait_for


class TestRounds:
    def test_rounds_are_streamed_while_the_run_trains(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ENDLESS)
        server.train(aggregator_id, wait=False)
        with server.call("GET", f"/rounds/{aggregator_id}", stream=True) as answer:
            assert answer.headers["content-type"] == "application/x-ndjson"
            seen = []
            for line in answer.iter_lines():
                seen.append(json.loads(line)["round"])
                if len(seen) == 5:
                    assert server.status(aggregator_id)["state"] == "training"
                    server.stop(aggregator_id)
        assert seen == list(range(1, len(seen) + 1))
        assert len(seen) == server.status(aggregator_id)["round"]
        after = server.call(
            "GET", f"/rounds/{aggregator_id}", params={"after": 3}
        ).text.splitlines()
        assert [json.loads(line)["round"] for line in after] == seen[3:]

    def test_no_rounds_before_training(self, server: Server, model_file: Path) -> None:
        aggregator_id = server.new_aggregator(model_file)
        answer = server.call("GET", f"/rounds/{aggregator_id}")
        assert (answer.status_code, answer.text) == (200, "")


class TestWeights:
    @pytest.fixture(scope="class")
    def trained(self, server: Server, model_file: Path, rows_file: Path) -> str:
        aggregator_id = server.ready(model_file, rows_file, rounds=3, lr=0.1)
        assert server.train(aggregator_id).ok
        return aggregator_id

    def get(self, server: Server, aggregator_id: str, **params: str) -> requests.Response:
        return server.call("GET", f"/weights/{aggregator_id}", params=params)

    def test_all_formats_hold_the_same_weights(
        self, server: Server, trained: str, tmp_path: Path
    ) -> None:
        from safetensors.numpy import load

        answer = self.get(server, trained)
        assert answer.headers["x-fusion-round"] == "3"
        wanted = {
            name: np.array(value, np.float32)
            for name, value in answer.json()["global_model"].items()
        }
        with np.load(io.BytesIO(self.get(server, trained, format="npz").content)) as stored:
            found = [dict(stored), load(self.get(server, trained, format="safetensors").content)]
        state = torch.load(
            io.BytesIO(self.get(server, trained, format="pt").content), weights_only=True
        )
        found.append({name: tensor.numpy() for name, tensor in state.items()})
        for weights in found:
            assert weights.keys() == wanted.keys()
            for name, array in weights.items():
                np.testing.assert_array_equal(array, wanted[name])

    def test_the_weights_of_the_best_round(self, server: Server, trained: str) -> None:
        answer = self.get(server, trained, which="best")
        history = [
            json.loads(line) for line in server.call("GET", f"/rounds/{trained}").text.splitlines()
        ]
        accuracies = [record["metrics"]["accuracy"] for record in history]
        assert accuracies[answer.json()["round"] - 1] == max(accuracies)

    def test_weights_are_whole_while_further_rounds_are_trained(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ENDLESS)
        server.train(aggregator_id, wait=False)
        wait_for(lambda: server.status(aggregator_id)["round"])

        def ask(number: int) -> requests.Response:
            params = {
                "format": ("json", "npz", "pt")[number % 3],
                "which": ("last", "best")[number % 2],
            }
            return self.get(server, aggregator_id, **params)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(150)))
        assert {answer.status_code for answer in answers} == {200}
        server.stop(aggregator_id)

    @pytest.mark.parametrize(
        ("params", "field"), [({"format": "keras"}, "format"), ({"which": "first"}, "which")]
    )
    def test_unknown_parameters_are_refused(
        self, server: Server, trained: str, params: dict[str, str], field: str
    ) -> None:
        answer = self.get(server, trained, **params)
        assert (answer.status_code, answer.json()["field"]) == (400, field)
