"""The Python client, `%fusion --service`, the command line, and the service inside Jupyter."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving import Server, save_model, save_rows, serving, wait_for
from torch import nn
from typer.testing import CliRunner

from fusion_nb import Run, RunSpec, cli
from fusion_nb.errors import DataError, ModelError, OptionError, RunError, ServiceError
from fusion_nb.runs.session import RUNS
from fusion_nb.service import proxy
from fusion_nb.service.client import Client
from fusion_nb.service.remote_run import RemoteRun


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))


class Elsewhere(nn.Sequential):
    """A class that the service doesn't have."""


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

    def test_files(self, client: Client, tmp_path: Path) -> None:
        model, rows = save_model(tmp_path / "model.pt"), save_rows(tmp_path / "rows.npz")
        aggregator_id = client.start_aggregator(model, num_parties=1, rounds=1)
        client.start_party(aggregator_id, str(rows), "mnist_pytorch")
        client.train(aggregator_id, wait=False)
        assert [record.round for record in client.rounds(aggregator_id)] == [1]

    def test_what_the_service_refuses(self, client: Client, tmp_path: Path) -> None:
        with pytest.raises(ServiceError, match="rounds '0' is not allowed") as caught:
            client.start_aggregator(network(), parties=2, rounds=0)
        assert (caught.value.status, caught.value.field) == (400, "rounds")
        with pytest.raises(ServiceError, match="there is no such aggregator"):
            client.status("x")
        with pytest.raises(ServiceError, match="no such aggregator"):
            list(client.rounds("x"))
        with pytest.raises(ServiceError, match="there are no weights yet"):
            client.download(client.start_aggregator(network(), parties=1), tmp_path / "x.npz")
        assert not list(tmp_path.iterdir())

    def test_what_can_t_be_sent(self, client: Client, tmp_path: Path) -> None:
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
        with pytest.raises(ModelError, match="is no kind of file that models are sent as"):
            client.start_aggregator(tmp_path / "model.bin")

    @pytest.mark.parametrize("url", ["", "127.0.0.1:8765", "ftp://x", "http://", "nonsense"])
    def test_an_address_that_is_none(self, url: str) -> None:
        with pytest.raises(ServiceError, match="is no address of a service"):
            Client(url)

    def test_nobody_is_there_and_no_secret_is_told(self) -> None:
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


#: Options of runs whose curve on the service is compared too, where there is time.
OTHER_OPTIONS: list[dict[str, Any]] = [
    {"fusion": "scaffold", "batch_size": 16, "holdout": 0.0},
    {"fusion": "fedadam", "dropout": 0.3, "seed": 5},
    {"changes": "2:lr=0.01", "monitor": "loss"},
]


class TestRemoteRun:
    """A cell's federation on the service: the same curve, chart, model and files as in the
    kernel."""

    def both(self, server: Server, namespace: dict[str, Any], **options: Any) -> tuple[Run, Run]:
        spec = RunSpec(**options)
        here = Run(spec, namespace).start().wait()
        there = RemoteRun(spec, namespace, url=server.url).start().wait()
        return here, there

    @pytest.mark.parametrize(
        "options",
        [
            {"split": "dirichlet:alpha=0.5", "parties": 3, "fraction": 0.7},
            {
                "baseline": "local",
                "adversary": "label_flip:1",
                "fusion": "median",
                "personal": "finetune",
            },
            *(pytest.param(options, marks=pytest.mark.slow) for options in OTHER_OPTIONS),
        ],
        ids=str,
    )
    def test_the_curve_is_the_same(self, server: Server, options: dict[str, Any]) -> None:
        here, there = self.both(
            server, {"model": network()}, **({"rounds": 3, "lr": 0.1} | options)
        )
        assert there.status == "finished"
        assert [record.metrics for record in there.history] == [
            record.metrics for record in here.history
        ]
        for ours, theirs in zip(here.model.parameters(), there.model.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        assert there.best.round == here.best.round
        assert there.spec == here.spec

    def test_it_is_exported_as_any_other(self, server: Server, tmp_path: Path) -> None:
        _, there = self.both(server, {"model": network()}, rounds=2, lr=0.1)
        names = {path.name for path in there.export(str(tmp_path / "fused"))}
        assert {"model.pt", "card.json", "history.csv", "chart.png"} <= names

    def test_until_ends_it_there_too(self, server: Server) -> None:
        spec = RunSpec(rounds=50, until="loss <= 100")
        run = RemoteRun(spec, {"model": network()}, url=server.url).start().wait()
        assert len(run.history) == 1
        assert run.reason.startswith("loss")
        assert run.spec.until == "loss <= 100"

    def test_one_that_somebody_else_ends(self, server: Server) -> None:
        run = RemoteRun(RunSpec(rounds=100_000), {"model": network()}, url=server.url).start()
        while len(run.records) < 2:
            time.sleep(0.02)
        with Client(server.url) as client:
            client.stop(client.aggregators()[-1]["aggregator_id"])
        run.wait()
        assert run.reason == "it was ended at the service"
        assert len(run.history) >= 2

    @pytest.mark.slow
    def test_keras(self, server: Server) -> None:
        keras = pytest.importorskip("keras")
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Input((1, 28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)]
        here, there = self.both(
            server, {"model": keras.Sequential(layers)}, rounds=2, optimizer="adam"
        )
        assert there.history["accuracy"] == pytest.approx(here.history["accuracy"])
        for ours, theirs in zip(here.model.get_weights(), there.model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)

    def test_doc2vec(self, server: Server) -> None:
        gensim = pytest.importorskip("gensim.models.doc2vec")
        words = ["one", "two", "three", "four", "five", "six", "seven", "eight"] * 3
        texts = [f"number {word} likes {word} and apples" for word in words]
        tagged = [gensim.TaggedDocument(text.split(), [f"t{i}"]) for i, text in enumerate(texts)]
        made = {
            "model": gensim.Doc2Vec(vector_size=8, min_count=1, epochs=5, workers=1, seed=1),
            "docs": tagged,
        }
        here, there = self.both(server, made, data="docs", rounds=2, parties=2)
        assert there.history["loss"] == here.history["loss"]
        np.testing.assert_array_equal(there.model.wv["apples"], here.model.wv["apples"])
        assert [tag for tag, *_ in there.similar("apples")] == [
            tag for tag, *_ in here.similar("apples")
        ]

    def test_stop_keeps_the_last_whole_round(self, server: Server) -> None:
        run = RemoteRun(RunSpec(rounds=100_000), {"model": network()}, url=server.url).start()
        while len(run.records) < 3:
            time.sleep(0.02)
        asked = time.monotonic()
        run.stop()
        assert time.monotonic() - asked < 5
        assert run.status == "stopped"
        assert len(run.history) >= 3
        assert run.model is not None
        wait_for(lambda: all(thread.name != "fusion_nb rounds" for thread in threading.enumerate()))
        with Client(server.url) as client:
            found = client.aggregators()[-1]
        assert (found["state"], found["round"]) == ("stopped", len(run.history))

    def test_a_service_that_goes_away(self, tmp_path: Path) -> None:
        with serving(tmp_path / "state") as server:
            run = RemoteRun(RunSpec(rounds=100_000), {"model": network()}, url=server.url).start()
            while len(run.records) < 2:
                time.sleep(0.02)
            server.kill()
            with pytest.raises(ServiceError, match="can't be reached"):
                run.wait()
            assert run.status == "failed"
            assert not run.history  # no rounds without what they led to
            told = run.error.hint  # type: ignore[union-attr]
            server.start()
            with Client(server.url) as client:
                aggregator_id = client.aggregators()[-1]["aggregator_id"]
                assert aggregator_id in told
                assert client.weights(aggregator_id)

    def test_what_it_is_not_for(self, server: Server) -> None:
        run = RemoteRun(RunSpec(rounds=1), {"model": network()}, url=server.url)
        for refused in (run.pause, run.step, run.more, run.change):
            with pytest.raises(RunError, match="is not for a run that a service trains"):
                refused()
        personal = RemoteRun(
            RunSpec(rounds=1, personal="finetune"), {"model": network()}, url=server.url
        )
        personal.start().wait()
        with pytest.raises(RunError, match="gives out no party's model"):
            _ = personal.parties[0].model

    def test_what_can_t_be_sent(self, server: Server) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(784, 10)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x.flatten(1))

        def made(**options: Any) -> RemoteRun:
            names = {
                "model": network(),
                "own": Net(),
                "other": Elsewhere(*network()),
                "my_loss": nn.CrossEntropyLoss(),
            }
            return RemoteRun(RunSpec(rounds=1, **options), names, url=server.url)

        with pytest.raises(OptionError, match="--loss my_loss is an object of this notebook"):
            made(loss="my_loss")
        with pytest.raises(OptionError, match="--ensemble"):
            made(ensemble="mean")
        with pytest.raises(ModelError, match="can't be sent"):
            made(model="own").start().wait()
        with pytest.raises(ServiceError, match="Elsewhere"):
            made(model="other").start().wait()


def test_a_cell_that_is_trained_by_a_service(server: Server, ip: Any) -> None:
    body = "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))"
    seen = ip.run(f"%%fusion --rounds 2 --lr 0.1 --service {server.url} --name far\n{body}")
    assert seen.error is None
    far = ip.ns["far"]
    assert isinstance(far, RemoteRun)
    assert len(far.history) == 2
    assert RUNS["far"] is far
    assert "finished" in str(seen.outputs[0])
    seen = ip.run("%fusion run --rounds 1 --service http://127.0.0.1:9")
    assert isinstance(seen.error, ServiceError)
    assert "can't be reached" in str(seen.error)
    assert "takes no --service" in str(ip.run("%fusion split --service http://127.0.0.1:9").error)


class TestCommandLine:
    def run(self, *words: str) -> Any:
        return CliRunner().invoke(cli.app, [str(word) for word in words])

    def test_run_trains_what_a_file_says(self, tmp_path: Path) -> None:
        code = "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        (tmp_path / "spec.yaml").write_text(RunSpec(rounds=2, lr=0.1, code=code).to_yaml())
        done = self.run("run", tmp_path / "spec.yaml", "--export", tmp_path / "fused")
        assert done.exit_code == 0, done.output
        assert "round 2  train_loss" in done.output
        assert (tmp_path / "fused" / "model.pt").exists()
        again = self.run("run", tmp_path / "spec.yaml", "--export", tmp_path / "fused")
        assert again.exit_code == 2
        assert "round 1" not in again.output

    def test_run_says_what_is_wrong_in_a_line(self, tmp_path: Path) -> None:
        assert "can't be read" in self.run("run", tmp_path / "spec.yaml").output
        (tmp_path / "spec.yaml").write_text("rounds: 0")
        done = self.run("run", tmp_path / "spec.yaml")
        assert (done.exit_code, "--rounds 0 is not allowed" in done.output) == (2, True)

    def test_tutorials(self, tmp_path: Path) -> None:
        done = self.run("tutorials", tmp_path / "new")
        assert done.exit_code == 0, done.output
        assert (tmp_path / "new" / "01_quickstart.ipynb").exists()
        again = self.run("tutorials", tmp_path / "new")
        assert (again.exit_code, "is not an empty folder" in again.output) == (2, True)

    def test_keys(self, tmp_path: Path) -> None:
        state = ("--state", tmp_path / "state")
        assert self.run("keys", "list", *state).exit_code == 2
        made = self.run("keys", "new", *state).output
        assert "made just now" in made
        client_id = made.partition("CLIENT_ID=")[2].split()[0]
        assert client_id in self.run("keys", "list", *state).output
        wrong = self.run("keys", "revoke", client_id[:-1], *state)
        assert (wrong.exit_code, f"did you mean '{client_id}'" in wrong.output) == (2, True)
        self.run("keys", "revoke", client_id, *state)
        assert self.run("keys", "list", *state).output == ""

    def test_without_the_extra_the_install_line_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("filelock", "fusion_nb.service.storage.keys", "fusion_nb.service.server"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, "filelock", None)
        (tmp_path / "state").mkdir()
        for words in (("serve",), ("keys", "list")):
            done = self.run(*words, "--state", tmp_path / "state")
            assert (done.exit_code, "pip install 'fusion_nb[service]'" in done.output) == (
                2,
                True,
            ), done.output

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--host", "0.0.0.0"), "--certfile and --keyfile"),
            (("--host", "0.0.0.0", "--certfile", "x"), "belong together"),
            (("--certfile", "x", "--keyfile", "y"), "can't be used"),
            (("--max-upload", "much"), "'much' is not a size"),
            (("--host", "no.such.host.", "--insecure"), "can't be listened on"),
            (("--state", "/proc/nothing"), "can't be used"),
        ],
    )
    def test_serve_says_what_is_wrong_in_a_line(
        self, tmp_path: Path, words: tuple[str, ...], said: str
    ) -> None:
        given = words if "--state" in words else (*words, "--state", tmp_path / "state")
        done = self.run("serve", "--port", "0", *given)
        assert (done.exit_code, said in done.output) == (2, True), done.output

    def test_serve_on_a_port_that_is_taken(self, server: Server, tmp_path: Path) -> None:
        port = server.address.rpartition(":")[2]
        done = self.run("serve", "--port", port, "--state", tmp_path / "state")
        assert "can't be listened on" in done.output


def test_tls(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    try:
        subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    with serving(
        tmp_path / "state", "--certfile", str(cert), "--keyfile", str(key), "--host", "0.0.0.0"
    ) as server:
        address = server.url.replace("0.0.0.0", "127.0.0.1")
        assert address.startswith("https://")
        with Client(address, verify=str(cert)) as client:
            assert client.aggregators() == []
        with Client(address) as client, pytest.raises(ServiceError, match="can't be reached"):
            client.aggregators()


class TestInsideJupyter:
    def test_the_tile_and_the_key(self) -> None:
        first, second = proxy.setup(), proxy.setup()
        assert first["launcher_entry"]["path_info"] == "fusion/docs"
        assert Path(first["launcher_entry"]["icon_path"]).exists()
        assert first["environment"] != second["environment"]
        assert not any(first["environment"][proxy.KEY] in word for word in first["command"])

    def test_behind_the_login_of_a_running_server(self, tmp_path: Path) -> None:
        import os

        import requests

        command = [
            sys.executable,
            "-m",
            "jupyter",
            "server",
            "--allow-root",
            "--no-browser",
            "--port",
            "0",
        ]
        environment = os.environ | {
            "JUPYTER_DATA_DIR": str(tmp_path / "data"),
            "HOME": str(tmp_path),
        }
        environment |= {
            "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
            "JUPYTER_TOKEN": "letmein",
        }
        log = (tmp_path / "log").open("w")
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 60
            found: list[Path] = []
            while not found:
                assert time.monotonic() < end, (tmp_path / "log").read_text()
                found = list((tmp_path / "runtime").glob("jpserver-*.json"))
                time.sleep(0.1)
            url = json.loads(found[0].read_text())["url"] + "fusion/"
            assert requests.get(url + "docs", timeout=60, allow_redirects=False).status_code in (
                302,
                403,
            )
            headers = {"Authorization": "token letmein"}
            page = requests.get(url + "docs", headers=headers, timeout=60)
            assert page.status_code == 200, page.text
            assert "cdn" not in page.text
            for part in (
                "openapi.json",
                "docs-files/swagger-ui-bundle.js",
                "docs-files/swagger-ui.css",
            ):
                assert part in page.text
                assert requests.get(url + part, headers=headers, timeout=60).ok
            assert requests.get(url + "aggregators", headers=headers, timeout=60).json() == {
                "aggregators": []
            }
            sent = {"model_file": ("m", save_model(tmp_path / "m.pt").read_bytes())}
            fields = {"model_type": "pytorch", "num_parties": "1", "rounds": "1"}
            answer = requests.post(
                url + "start-aggregator", headers=headers, data=fields, files=sent, timeout=60
            )
            assert answer.ok, answer.text
            assert (tmp_path / "data" / "fusion_nb" / "aggregators").is_dir()
        finally:
            process.terminate()
            process.wait(30)
            log.close()
