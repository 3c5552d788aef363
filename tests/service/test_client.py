"""The Python client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from serving import Server, save_model, save_rows
from torch import nn

from fusion_nb.errors import DataError, ModelError, OptionError, ServiceError
from fusion_nb.service.client import Client


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


class TestClient:
    def test_the_whole_sequence(self, client: Client, tmp_path: Path) -> None:
        path = save_rows(tmp_path / "rows.npz")
        with np.load(path) as stored:
            x, y = stored["x_train"].astype(np.float32) / 255, stored["y_train"]
        aggregator_id = client.start_aggregator(
            network(), parties=2, rounds=2, lr=0.1, test=(x[:9], y[:9])
        )
        assert client.start_party(aggregator_id, (x, y), party="a") == 1
        assert client.start_party(aggregator_id, ((x, y), (x[:5], y[:5])), party="b") == 0
        found = client.train(aggregator_id)
        records = list(client.rounds(aggregator_id))
        assert [record.round for record in records] == [1, 2]
        assert records[-1].metrics == found["history"][-1]["metrics"]
        assert records[-1].cohort == ("a", "b")
        weights = client.weights(aggregator_id)
        for name, array in weights.items():
            np.testing.assert_array_equal(array, np.array(found["global_model"][name], np.float32))
        written = client.download(aggregator_id, tmp_path / "fused.pt", "pt")
        network().load_state_dict(torch.load(written, weights_only=True))
        assert client.stop(aggregator_id)["state"] == "finished"
        assert aggregator_id in [brief["aggregator_id"] for brief in client.aggregators()]
        with pytest.raises(ServiceError, match="it has not ended"):
            client.remove(client.start_aggregator(network(), parties=1))
        assert client.status(aggregator_id)["has_ended"]
        client.remove(aggregator_id)
        with pytest.raises(ServiceError, match="no such aggregator"):
            client.status(aggregator_id)
        assert client.health()["status"] == "ok"

    def test_models_and_rows_are_sent_as_files(self, client: Client, tmp_path: Path) -> None:
        model, rows = save_model(tmp_path / "model.pt"), save_rows(tmp_path / "rows.npz")
        aggregator_id = client.start_aggregator(model, num_parties=1, rounds=1)
        client.start_party(aggregator_id, str(rows), "mnist_pytorch")
        client.train(aggregator_id, wait=False)
        assert [record.round for record in client.rounds(aggregator_id)] == [1]

    def test_refusals_are_raised_as_service_errors(self, client: Client, tmp_path: Path) -> None:
        with pytest.raises(ServiceError, match="rounds '0' is not allowed") as caught:
            client.start_aggregator(network(), parties=2, rounds=0)
        assert (caught.value.status, caught.value.field) == (400, "rounds")
        with pytest.raises(ServiceError, match="there is no such aggregator"):
            client.status("x")
        with pytest.raises(ServiceError, match="there is no such aggregator"):
            client.status(None)  # type: ignore[arg-type]  # start_aggregator was refused before
        with pytest.raises(ServiceError, match="no such aggregator"):
            list(client.rounds("x"))
        with pytest.raises(ServiceError, match="there are no weights yet"):
            client.download(client.start_aggregator(network(), parties=1), tmp_path / "x.npz")
        assert not list(tmp_path.iterdir())

    def test_unsuitable_objects_are_refused_before_they_are_sent(
        self, client: Client, tmp_path: Path
    ) -> None:
        with pytest.raises(DataError, match="x_train holds Python objects"):
            client.start_party("x", (np.array([None, {}]), np.arange(2)))
        with pytest.raises(DataError, match=r"rows\.npz can't be read"):
            client.start_party("x", tmp_path / "rows.npz")
        with pytest.raises(ModelError, match="there is no file"):
            client.start_aggregator(tmp_path / "model.pt")
        for data in (np.zeros(5), {"x": 1}, None, (1, 2, 3), ((1, 2, 3), None)):
            with pytest.raises(DataError, match="pair"):
                client.start_party("x", data)
        with pytest.raises(DataError, match="test is ndarray, not a pair"):
            client.start_aggregator(network(), parties=1, test=np.zeros((5, 784)))
        with pytest.raises(OptionError, match="can't be read"):
            Client("https://127.0.0.1", verify=str(tmp_path / "authority.pem"))
        (tmp_path / "model.bin").touch()
        with pytest.raises(ModelError, match="has no suffix of a model"):
            client.start_aggregator(tmp_path / "model.bin")

    @pytest.mark.parametrize("url", ["", "127.0.0.1:8765", "ftp://x", "http://", "nonsense"])
    def test_wrong_addresses_are_refused(self, url: str) -> None:
        with pytest.raises(ServiceError, match="is no address of a service"):
            Client(url)

    def test_an_absent_server_is_named_without_the_secret(self) -> None:
        with (
            Client("http://me:secret@127.0.0.1:9") as client,
            pytest.raises(ServiceError) as caught,
        ):
            client.health()
        assert "fusion-nb serve" in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_credentials_as_arguments_and_from_netrc(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Client(server.address, *server.key) as client:
            client.aggregators()
        with (
            Client(server.address) as client,
            pytest.raises(ServiceError, match="id and its secret are needed"),
        ):
            client.aggregators()
        path = tmp_path / "netrc"
        path.write_text(f"machine 127.0.0.1\nlogin {server.key[0]}\npassword {server.key[1]}\n")
        monkeypatch.setenv("NETRC", str(path))
        with Client(server.address) as client:
            client.aggregators()
