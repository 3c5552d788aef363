"""The service over real HTTP: the original clients' sequence, the order of steps, and runs that are
followed live."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from serving import Server, save_model, save_rows, serving, wait_for
from torch import nn

from fusion_nb import federate
from fusion_nb.data import image_datasets


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model.pt")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_rows(tmp_path_factory.mktemp("rows") / "rows.npz")


def cnn() -> nn.Module:
    """The network of PyTorch's MNIST example, as the original service's documentation has it."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
        nn.LogSoftmax(dim=1),
    )


class TestTheOriginalSequence:
    def test_pytorch(self, server: Server, tmp_path: Path) -> None:
        url = (
            server.url
        )  # credentials in the address, and plain `requests`, as the original clients do it
        network = cnn()
        torch.save(network, tmp_path / "model.pt")
        answer = requests.post(
            url + "/start-aggregator",
            data={
                "fusion_algorithm": "fedavg",
                "model_type": "pytorch",
                "num_parties": 2,
                "rounds": 2,
                "epochs": 1,
                "learning_rate": 1.0,
                "optimizer": "optim.Adadelta",
            },
            files={"model_file": (tmp_path / "model.pt").read_bytes()},
            verify=False,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        aggregator_id = answer.json()["aggregator_id"]
        for number, left in ((0, 1), (1, 0)):
            path = save_rows(tmp_path / f"data_party{number}.npz", 500 * number, 500)
            answer = requests.post(
                url + "/start-party",
                data={"aggregator_id": aggregator_id, "data_handler_class_name": "mnist_pytorch"},
                files={"data": path.read_bytes()},
                verify=False,
                timeout=60,
            )
            assert answer.json()["remaining"] == left
        answer = requests.post(
            url + "/train", json={"aggregator_id": aggregator_id}, verify=False, timeout=300
        )
        found = answer.json()
        assert [record["round"] for record in found["history"]] == [1, 2]
        assert found["history"][-1]["metrics"]["accuracy"] > 0.5
        network.load_state_dict(
            {name: torch.tensor(value) for name, value in found["global_model"].items()}
        )
        (_, _), (x, y) = image_datasets.Digits().get_data()
        network.eval()
        assert (network(torch.tensor(x)).argmax(1).numpy() == y).mean() > 0.5
        answer = requests.post(
            url + "/stop", json={"aggregator_id": aggregator_id}, verify=False, timeout=60
        )
        assert answer.json()["state"] == "finished"
        left = [
            path
            for path in (server.state / "aggregators" / aggregator_id / "parties").rglob("*")
            if path.is_file()
        ]
        assert {path.name for path in left} == {"party.json"}

    def test_keras(self, server: Server, tmp_path: Path) -> None:
        keras = pytest.importorskip("keras")
        layers = [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, "softmax"),
        ]
        network = keras.Sequential(layers)
        network.save(tmp_path / "model.keras")
        fields = {"model_type": "keras", "rounds": 2, "optimizer": "adam", "learning_rate": 0.005}
        answer = server.start_aggregator(
            tmp_path / "model.keras", fusion_algorithm="iter_avg", **fields
        )
        assert answer.ok, answer.text
        aggregator_id = answer.json()["aggregator_id"]
        for number in range(2):
            path = save_rows(tmp_path / "rows.npz", 200 * number, 200)
            assert server.start_party(aggregator_id, path, "mnist_keras").ok
        found = server.train(aggregator_id).json()
        assert len(found["history"]) == 2
        network.set_weights([np.array(value) for value in found["global_model"].values()])
        got = server.call("GET", f"/weights/{aggregator_id}", params={"format": "keras"})
        (tmp_path / "fused.keras").write_bytes(got.content)
        for ours, theirs in zip(
            keras.saving.load_model(tmp_path / "fused.keras").weights, network.weights, strict=True
        ):
            np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=1e-6)

    def test_doc2vec(self, server: Server, tmp_path: Path) -> None:
        gensim = pytest.importorskip("gensim.models.doc2vec")
        gensim.Doc2Vec(vector_size=8, min_count=1, epochs=5).save(str(tmp_path / "model"))
        fields = {
            "model_type": "doc2vec",
            "rounds": 2,
            "optimizer": "not used",
            "learning_rate": 0.025,
        }
        answer = server.start_aggregator(tmp_path / "model", fusion_algorithm="doc2vec", **fields)
        assert answer.ok, answer.text
        aggregator_id = answer.json()["aggregator_id"]
        for number in range(2):
            articles = [
                {"title": f"{number} {i}", "text": f"the party number {number} likes apples"}
                for i in range(9)
            ]
            data = "\n".join(json.dumps(article) for article in articles).encode()
            answer = server.start_party(aggregator_id, data, "wikipedia")
            assert answer.ok, answer.text
        found = server.train(aggregator_id).json()
        assert len(found["history"]) == 2
        assert np.array(found["global_model"]["wv.vectors"]).shape[1] == 8
        got = server.call("GET", f"/weights/{aggregator_id}", params={"format": "gensim"})
        (tmp_path / "fused").write_bytes(got.content)
        fused = gensim.Doc2Vec.load(str(tmp_path / "fused"))
        np.testing.assert_allclose(
            fused.wv["apples"], found["global_model"]["wv.vectors"][fused.wv.key_to_index["apples"]]
        )
        assert fused.infer_vector(["apples"]).shape == (8,)


class TestTheSameFederation:
    def test_the_curve_is_that_of_the_kernel(
        self, server: Server, tmp_path: Path, model: Path
    ) -> None:
        paths = [save_rows(tmp_path / f"{i}.npz", 100 * i, 100) for i in range(2)]
        aggregator_id = server.start_aggregator(
            model, rounds=3, lr=0.1, batch_size=16, seed=3
        ).json()["aggregator_id"]
        for path in paths:
            server.start_party(aggregator_id, path)
        found = server.train(aggregator_id).json()
        data = {
            f"party {i + 1}": image_datasets.Npz(str(path)).get_data()[0]
            for i, path in enumerate(paths)
        }
        run = federate(str(model), data, rounds=3, lr=0.1, batch_size=16, seed=3)
        assert [record["metrics"] for record in found["history"]] == [
            dict(record.metrics) for record in run.history
        ]

    def test_the_aggregators_own_test_rows(self, server: Server, model: Path, rows: Path) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, x_test=np.zeros((4, 28, 28), np.uint8), y_test=np.arange(4))
        files = {"model_file": ("m", model.read_bytes()), "test": ("t", buffer.getvalue())}
        fields = {"model_type": "pytorch", "num_parties": 1, "rounds": 1}
        aggregator_id = server.call("POST", "/start-aggregator", data=fields, files=files).json()[
            "aggregator_id"
        ]
        server.start_party(aggregator_id, rows)
        # Four equal images of four classes: whatever the model says of them, one in four is right,
        # or none.
        assert server.train(aggregator_id).json()["history"][0]["metrics"]["accuracy"] in (0, 0.25)

    def test_any_option_of_a_run(self, server: Server, model: Path, rows: Path) -> None:
        fields = {
            "fusion_algorithm": "fedprox:mu=0.1",
            "fraction": 0.5,
            "rounds": 9,
            "until": "loss <= 100",
        }
        aggregator_id = server.ready(model, rows, num_parties=4, **fields)
        found = server.train(aggregator_id).json()
        assert found["reason"].startswith("loss")
        assert len(found["history"]) == 1
        assert len(found["history"][0]["cohort"]) == 2

    def test_parties_of_a_name(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = server.start_aggregator(model, rounds=1).json()["aggregator_id"]
        assert (
            server.start_party(aggregator_id, rows, party="Klinik Süd").json()["party"]
            == "Klinik Süd"
        )
        assert (
            server.start_party(aggregator_id, rows, party="Klinik Süd").json()["field"] == "party"
        )
        assert server.start_party(aggregator_id, rows).json()["party"] == "party 2"
        assert server.train(aggregator_id).json()["history"][0]["cohort"] == [
            "Klinik Süd",
            "party 2",
        ]


class TestOrder:
    def test_each_step_has_its_time(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = server.start_aggregator(model, rounds=1).json()["aggregator_id"]
        early = server.train(aggregator_id)
        assert early.status_code == 409
        assert early.json()["error"] == "2 of 2 parties are still to register"
        assert server.call("GET", f"/weights/{aggregator_id}").status_code == 404
        assert [server.start_party(aggregator_id, rows).json()["remaining"] for _ in range(2)] == [
            1,
            0,
        ]
        assert server.start_party(aggregator_id, rows).status_code == 409
        assert server.train(aggregator_id).ok
        assert server.train(aggregator_id).status_code == 409
        assert server.stop(aggregator_id).ok
        assert server.stop(aggregator_id).ok
        assert server.train(aggregator_id).json()["error"] == "the federation has ended"
        assert server.start_party(aggregator_id, rows).status_code == 409
        assert server.call("GET", f"/weights/{aggregator_id}").ok

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/status/x"), ("GET", "/rounds/x"), ("GET", "/weights/x")]
    )
    def test_an_unknown_aggregator(self, server: Server, method: str, path: str) -> None:
        answer = server.call(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"] == "there is no such aggregator"

    def test_stopping_before_training_deletes_data(
        self, server: Server, model: Path, rows: Path
    ) -> None:
        aggregator_id = server.ready(model, rows)
        assert server.stop(aggregator_id).json()["state"] == "stopped"
        assert not list((server.state / "aggregators" / aggregator_id).rglob("data*"))

    def test_training_that_was_stopped_early_answers_with_its_last_round(
        self, server: Server, model: Path, rows: Path
    ) -> None:
        aggregator_id = server.ready(model, rows, rounds=100_000)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(server.train, aggregator_id)
            wait_for(lambda: server.status(aggregator_id)["round"] >= 2)
            asked = time.monotonic()
            stopped = server.stop(aggregator_id)
            assert time.monotonic() - asked < 5
            found = waiting.result().json()
        assert found["state"] == stopped.json()["state"] == "stopped"
        assert len(found["history"]) == found["round"] >= 2

    def test_a_queue_that_is_in_order(self, server: Server, model: Path, rows: Path) -> None:
        first, second, third = (
            server.ready(model, rows, rounds=rounds) for rounds in (100_000, 1, 1)
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


class TestRounds:
    def test_they_are_followed_live(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = server.ready(model, rows, rounds=100_000)
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

    def test_nothing_yet(self, server: Server, model: Path) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        answer = server.call("GET", f"/rounds/{aggregator_id}")
        assert (answer.status_code, answer.text) == (200, "")


class TestWeights:
    @pytest.fixture(scope="class")
    def trained(self, server: Server, model: Path, rows: Path) -> str:
        aggregator_id = server.ready(model, rows, rounds=3, lr=0.1)
        assert server.train(aggregator_id).ok
        return aggregator_id

    def get(self, server: Server, aggregator_id: str, **params: str) -> requests.Response:
        return server.call("GET", f"/weights/{aggregator_id}", params=params)

    def test_all_formats_hold_the_same(self, server: Server, trained: str, tmp_path: Path) -> None:
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

    def test_the_best_round(self, server: Server, trained: str) -> None:
        answer = self.get(server, trained, which="best")
        history = [
            json.loads(line) for line in server.call("GET", f"/rounds/{trained}").text.splitlines()
        ]
        accuracies = [record["metrics"]["accuracy"] for record in history]
        assert accuracies[answer.json()["round"] - 1] == max(accuracies)

    def test_they_are_there_whole_while_rounds_come_in(
        self, server: Server, model: Path, rows: Path
    ) -> None:
        aggregator_id = server.ready(model, rows, rounds=100_000)
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
    def test_others_are_refused(
        self, server: Server, trained: str, params: dict[str, str], field: str
    ) -> None:
        answer = self.get(server, trained, **params)
        assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_many_at_once_lose_and_cross_nothing(server: Server, model: Path, rows: Path) -> None:
    """200 registrations and questions, while a run trains."""
    busy = server.ready(model, rows, rounds=100_000)
    server.train(busy, wait=False)
    ids = [
        server.start_aggregator(model, num_parties=5, seed=number).json()["aggregator_id"]
        for number in range(20)
    ]

    def register(number: int) -> tuple[str, requests.Response]:
        aggregator_id = ids[number % 20]
        # Each with a count of rows of its own, so that one that went astray would be found.
        buffer = io.BytesIO()
        with np.load(rows) as stored:
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
