"""The sequences of the original service's clients, by plain HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from serving import PATIENCE, Server, save_rows
from torch import nn

from fusion_nb.data import image_datasets


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
            timeout=PATIENCE,
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
                timeout=PATIENCE,
            )
            assert answer.json()["remaining"] == left
        answer = requests.post(
            url + "/train", json={"aggregator_id": aggregator_id}, verify=False, timeout=PATIENCE
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
            url + "/stop", json={"aggregator_id": aggregator_id}, verify=False, timeout=PATIENCE
        )
        assert answer.json()["state"] == "finished"
        left = [
            path
            for path in (server.state / "aggregators" / aggregator_id / "parties").rglob("*")
            if path.is_file()
        ]
        assert {path.name for path in left} == {"party.json"}

    @pytest.mark.slow
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

    @pytest.mark.slow
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
