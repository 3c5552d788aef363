"""What must not get in: uploads that would run code, burst or don't fit, calls without a key,
random requests."""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import socket
import stat
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from serving import Server, save_model, save_rows, serving
from torch import nn

from fusion_nb.service.storage.keys import Key, Keys

MARK = Path("/tmp/fusion_nb_was_here")


class Bomb:
    """A pickle that runs a program when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (f"touch {MARK}",)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = ("--max-upload", "4M", "--max-unpacked", "20M")
    with serving(tmp_path_factory.mktemp("state"), *limits) as server:
        yield server


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model.pt")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_rows(tmp_path_factory.mktemp("rows") / "rows.npz")


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    MARK.unlink(missing_ok=True)
    yield
    assert not MARK.exists(), "an upload ran a program"


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def archive(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return file.getvalue()


def lying(content: bytes) -> bytes:
    """Return an archive whose entries say that they are small, in both of the places that say
    so."""
    found = bytearray(archive(**{"x_train.npy": content}))
    for start, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = found.find(start) + offset
        found[at : at + 4] = struct.pack("<I", 100)
    return bytes(found)


def npy(shape: tuple[int, ...], kind: str = "|u1", body: bytes = b"") -> bytes:
    """Return an array's file that says of itself whatever it likes."""
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


class Net(nn.Module):
    """A class of the client's own, which can't be read without its code."""


def hooked() -> nn.Module:
    network = nn.Linear(2, 2)
    network.register_forward_hook(Bomb())  # type: ignore[arg-type]
    return network


def keras_with_lambda() -> bytes:
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "layers": [
                {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}}
            ]
        },
    }
    return archive(
        **{
            "config.json": json.dumps(config).encode(),
            "metadata.json": b"{}",
            "model.weights.h5": b"",
        }
    )


X = np.zeros((6, 28, 28), np.uint8)
Y = np.arange(6)

#: Files that are sent as models: name -> (model_type, content).
MODELS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a pickle that runs a program": ("pytorch", lambda: pickle.dumps(Bomb())),
    "a saved object that runs a program": ("pytorch", lambda: saved(Bomb())),
    "the same in the old format": (
        "pytorch",
        lambda: saved(Bomb(), _use_new_zipfile_serialization=False),
    ),
    "a module with a hook that runs a program": ("pytorch", lambda: saved(hooked())),
    "a module of another class": ("pytorch", lambda: saved(Net())),
    "a state dict": ("pytorch", lambda: saved(nn.Linear(2, 2).state_dict())),
    "a tensor": ("pytorch", lambda: saved(torch.zeros(3))),
    "half a model": ("pytorch", lambda: saved(nn.Linear(20, 20))[:600]),
    "nothing": ("pytorch", lambda: b""),
    "noise": ("pytorch", lambda: np.random.default_rng(0).bytes(5000)),
    "weights that are not finite": ("pytorch", lambda: saved(not_finite())),
    "a PyTorch model as Keras's": ("keras", lambda: saved(nn.Linear(2, 2))),
    "a Lambda layer": ("keras", keras_with_lambda),
    "an archive with a path outside": (
        "keras",
        lambda: archive(**{"../../evil": b"x", "config.json": b"{}"}),
    ),
    "a model that bursts": ("keras", lambda: archive(**{"model.weights.h5": bytes(30 << 20)})),
    "HDF5 that is none": ("keras", lambda: b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "gensim with a program": ("doc2vec", lambda: pickle.dumps(Bomb())),
    "gensim with a program inside": ("doc2vec", lambda: pickle.dumps({"wv": Bomb()})),
    "gensim that is a list": ("doc2vec", lambda: pickle.dumps([1, 2, 3])),
    "gensim cut short": ("doc2vec", lambda: pickle.dumps(list(range(1000)))[:500]),
    "a module name that would be imported": (
        "doc2vec",
        lambda: b"cos\nsystem\n(S'touch " + bytes(MARK) + b"'\ntR.",
    ),
}

#: Files that are sent as a party's rows: name -> (handler, content).
ROWS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "an array of objects": (
        "npz",
        lambda: npz(x_train=np.array([Bomb()] * 6, dtype=object), y_train=Y),
    ),
    "labels that are objects": (
        "npz",
        lambda: npz(x_train=X, y_train=np.array([Bomb()] * 6, dtype=object)),
    ),
    "a pickle": ("npz", lambda: pickle.dumps(Bomb())),
    "an archive that bursts": ("npz", lambda: archive(**{"x_train.npy": bytes(40 << 20)})),
    "an archive that lies about its size": (
        "npz",
        lambda: lying(npy((3, 28, 28), body=bytes(30 << 20))),
    ),
    "an array that says it is huge": ("npz", lambda: archive(**{"x_train.npy": npy((1 << 40,))})),
    "an array of negative size": ("npz", lambda: archive(**{"x_train.npy": npy((-5, 3))})),
    "an archive cut short": ("npz", lambda: npz(x_train=X, y_train=Y)[:-300]),
    "an archive with a path outside": (
        "npz",
        lambda: archive(**{"../../x_train.npy": npy((1,), body=b"1")}),
    ),
    "a gzip that bursts": ("wikipedia", lambda: gzip.compress(bytes(40 << 20))),
    "a gzip cut short": (
        "wikipedia",
        lambda: gzip.compress(np.random.default_rng(0).bytes(9000))[:4000],
    ),
    "rows of another form": ("npz", lambda: npz(x_train=np.zeros((6, 3)), y_train=Y)),
    "test rows of another form": (
        "npz",
        lambda: npz(x_train=X, y_train=Y, x_test=np.zeros((2, 3)), y_test=Y[:2]),
    ),
    "more labels than rows": ("npz", lambda: npz(x_train=X, y_train=np.arange(9))),
    "no rows": ("npz", lambda: npz(x_train=X[:0], y_train=Y[:0])),
    "no labels": ("npz", lambda: npz(x_train=X)),
    "labels that the model has no output for": ("npz", lambda: npz(x_train=X, y_train=Y + 90)),
    "negative labels": ("npz", lambda: npz(x_train=X, y_train=Y - 3)),
    "rows that are not finite": (
        "npz",
        lambda: npz(x_train=np.full((6, 28, 28), np.nan), y_train=Y),
    ),
    "labels that are not finite": ("npz", lambda: npz(x_train=X, y_train=np.full(6, np.inf))),
    "numbers that are complex": ("npz", lambda: npz(x_train=X.astype(complex), y_train=Y)),
    "images that are none": ("mnist_pytorch", lambda: npz(x_train=np.zeros((6, 5, 5)), y_train=Y)),
    "text for a model of images": (
        "wikipedia",
        lambda: b'{"title": "a", "text": "some words here"}\n',
    ),
    "XML that expands": (
        "wikipedia",
        lambda: (
            b'<!DOCTYPE a [<!ENTITY b "'
            + b"b" * 9999
            + b'"><!ENTITY c "'
            + b"&b;" * 9999
            + b'">]><a>&c;</a>'
        ),
    ),
    "noise": ("npz", lambda: np.random.default_rng(1).bytes(3000)),
    "nothing": ("npz", lambda: b""),
}


def not_finite() -> nn.Module:
    network = nn.Linear(2, 2)
    nn.init.constant_(network.bias, float("nan"))
    return network


def check_refused(answer: requests.Response, server: Server) -> None:
    """The answer is one clear line, tells nothing of where the server keeps its files, and the
    server lives."""
    assert answer.status_code in (400, 413, 422), answer.text
    told = answer.json()
    assert told["error"]
    assert "\n" not in told["error"]
    assert str(server.state) not in answer.text
    assert ".draft" not in answer.text
    assert server.call("GET", "/health").ok


class TestModels:
    @pytest.mark.parametrize("name", MODELS)
    def test_is_refused(self, server: Server, name: str) -> None:
        kind, content = MODELS[name]
        before = sorted(path.name for path in (server.state / "aggregators").iterdir())
        check_refused(
            server.start_aggregator(content(), model_type=kind, fusion_algorithm=""), server
        )
        assert sorted(path.name for path in (server.state / "aggregators").iterdir()) == before

    def test_the_culprit_is_named(self, server: Server) -> None:
        answer = server.start_aggregator(saved(Bomb()))
        assert "posix.system" in answer.json()["error"]


class TestRows:
    @pytest.fixture(scope="class")
    def aggregator_id(self, server: Server, model: Path) -> str:
        return str(server.start_aggregator(model, num_parties=100).json()["aggregator_id"])

    @pytest.mark.parametrize("name", ROWS)
    def test_is_refused(self, server: Server, aggregator_id: str, name: str) -> None:
        handler, content = ROWS[name]
        check_refused(server.start_party(aggregator_id, content(), handler), server)
        assert server.status(aggregator_id)["remaining"] == 100
        assert not list((server.state / "aggregators" / aggregator_id).rglob("data*"))

    def test_rows_unlike_those_of_others(self, server: Server, model: Path, rows: Path) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        assert server.start_party(aggregator_id, rows).ok
        answer = server.start_party(aggregator_id, npz(x_train=np.zeros((6, 784)), y_train=Y))
        assert answer.json()["error"].endswith("those of party 1 (28, 28)")

    @pytest.mark.parametrize(
        "name",
        [
            "../../../../tmp/evil.npz",
            "/etc/passwd",
            "a\x00b",
            "名前 🙂.npz",
            "x" * 5000,
            "",
            'a";b.npz',
            "con\r\nx",
        ],
    )
    def test_what_the_file_is_called_means_nothing(
        self, server: Server, model: Path, rows: Path, name: str
    ) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        fields = {"aggregator_id": aggregator_id, "data_handler_class_name": "npz"}
        answer = server.call(
            "POST", "/start-party", data=fields, files={"data": (name, rows.read_bytes())}
        )
        assert answer.status_code in (200, 400)
        kept = {path.name for path in (server.state / "aggregators" / aggregator_id).rglob("*")}
        assert kept <= {"aggregator.json", "model.pt", "parties", "0001", "party.json", "data.npz"}

    def test_code_is_refused_unless_it_is_allowed(
        self, server: Server, model: Path, rows: Path
    ) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        code = f"open({str(MARK)!r}, 'w')\nclass Mine: ...\n"
        answer = server.start_party(
            aggregator_id, rows, "Mine", files={"custom_data_handler": ("h.py", code)}
        )
        assert answer.status_code == 422
        assert "--allow-custom-code" in answer.json()["hint"]

    def test_a_handler_that_reads_no_file_is_none(
        self, server: Server, model: Path, rows: Path
    ) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        assert server.start_party(aggregator_id, rows, "digits").status_code == 400
        assert server.start_party(aggregator_id, rows, "os:system").status_code == 400
        assert server.start_party(aggregator_id, rows, f"{__file__}:Bomb").status_code == 400


class TestSizes:
    def test_a_request_that_is_too_large(self, server: Server, model: Path) -> None:
        answer = server.start_aggregator(bytes(5 << 20))
        assert (answer.status_code, answer.json()["error"]) == (
            413,
            "a request may have 4,194,304 bytes",
        )

    def test_one_that_does_not_say_how_large_it_is(self, server: Server) -> None:
        def parts() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="model_file"; filename="m"\r\n\r\n'
            for _ in range(50):
                yield bytes(200_000)
            yield b"\r\n--x--\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert (
            server.call("POST", "/start-aggregator", data=parts(), headers=headers).status_code
            == 413
        )

    @pytest.mark.parametrize("path", ["/train", "/stop"])
    @pytest.mark.parametrize("is_told", [True, False])
    def test_json_that_is_too_large(self, server: Server, path: str, is_told: bool) -> None:
        body = b'{"aggregator_id": [' + b"[]," * 100_000 + b"[]]}"
        sent: Any = body if is_told else iter([body[:1000], body[1000:]])
        answer = server.call("POST", path, data=sent, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]) == (
            413,
            "a request may have 65,536 bytes",
        )

    def test_a_table_of_contents_that_is_huge(self, server: Server) -> None:
        content = archive(**{f"{number:06}": b"" for number in range(30_000)})
        assert len(content) < 4 << 20
        check_refused(
            server.start_aggregator(content, model_type="keras", fusion_algorithm=""), server
        )

    def test_nothing_of_it_is_kept(self, server: Server) -> None:
        assert not list((server.state / "aggregators").glob(".draft*"))


class TestFields:
    @pytest.mark.parametrize(
        ("fields", "field", "said"),
        [
            ({"rounds": "many"}, "rounds", "give a whole number >= 1"),
            ({"rounds": "0"}, "rounds", "give a whole number >= 1"),
            ({"num_parties": ""}, "num_parties", "give a whole number >= 1"),
            ({"learning_rate": "nan"}, "learning_rate", "give a number > 0"),
            ({"learning_rate": "-1"}, "learning_rate", "give a number > 0"),
            ({"epochs": "1e9"}, "epochs", "give a whole number >= 1"),
            ({"fusion_algorithm": "fedavgg"}, "fusion_algorithm", "did you mean 'fedavg'"),
            ({"fusion_algorithm": "fedprox:nu=1"}, "fusion_algorithm", "mu"),
            ({"model_type": "sklearn"}, "model_type", "there are: pytorch, keras, doc2vec"),
            ({"optimzer": "adam"}, "optimzer", "did you mean 'optimizer'"),
            ({"lr": "1", "learning_rate": "1"}, "learning_rate", "give one of them"),
            ({"data": "digits"}, "data", "there are:"),
            ({"data_handler": "os:system"}, "data_handler", "there are:"),
            ({"code": "import os"}, "code", "there are:"),
            ({"ensemble": "distill:data=/etc/passwd"}, "ensemble", "use mean, vote or stack"),
            ({"ensemble": "distill:/etc/passwd"}, "ensemble", "use mean, vote or stack"),
            ({"ensemble": " distill :data =/etc/passwd"}, "ensemble", "mean"),
            ({"ensemble": "distill:data\t=digits"}, "ensemble", "use mean, vote or stack"),
            ({"rounds": "🙂\u202e"}, "rounds", "give a whole number"),
        ],
    )
    def test_the_field_is_named_with_what_is_allowed(
        self, server: Server, model: Path, fields: dict[str, str], field: str, said: str
    ) -> None:
        answer = server.start_aggregator(model, **fields)
        told = answer.json()
        assert (answer.status_code, told["field"]) == (400, field), told
        assert said in told["hint"]

    def test_an_optimizer_that_the_library_lacks(self, server: Server, model: Path) -> None:
        answer = server.start_aggregator(model, optimizer="optim.Adadeltaa")
        assert answer.status_code == 422
        assert "did you mean 'adadelta'" in answer.json()["hint"]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ("{", "body"),
            ("[]", "body"),
            ("{}", "aggregator_id"),
            ('{"aggregator_id": 5}', "aggregator_id"),
            ("", "body"),
        ],
    )
    @pytest.mark.parametrize("path", ["/train", "/stop"])
    def test_bodies_that_are_none(self, server: Server, path: str, body: str, field: str) -> None:
        answer = server.call("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text

    def test_a_file_that_is_text_and_text_that_is_a_file(self, server: Server) -> None:
        answer = server.call(
            "POST", "/start-aggregator", data={"model_file": "x"}, files={"rounds": ("r", b"1")}
        )
        assert answer.status_code == 400
        assert (
            server.call("POST", "/start-aggregator", json={"rounds": 1}).json()["field"] == "body"
        )

    @pytest.mark.parametrize("charset", ["undefined", "punycode", "no-such"])
    def test_a_charset_that_is_none(self, server: Server, charset: str) -> None:
        kind = f"multipart/form-data; boundary=x; charset={charset}"
        body = b'--x\r\nContent-Disposition: form-data; name="rounds"\r\n\r\n\xff1\r\n--x--\r\n'
        answer = server.call("POST", "/start-aggregator", data=body, headers={"Content-Type": kind})
        assert answer.status_code == 400

    def test_a_client_that_leaves_is_no_fault(self, server: Server) -> None:
        host, port = server.address.removeprefix("http://").split(":")
        token = base64.b64encode(":".join(server.key).encode()).decode()
        with socket.create_connection((host, int(port))) as connection:
            head = (
                "POST /start-aggregator HTTP/1.1\r\nHost: x\r\nContent-Type: "
                "multipart/form-data; boundary=x\r\n"
            )
            connection.sendall(
                f"{head}Authorization: Basic {token}\r\nContent-Length: 9999\r\n\r\n--x".encode()
            )
            time.sleep(0.3)
        path = server.state / "server.log"
        end = time.monotonic() + 10
        while '"status": 499' not in path.read_text():
            assert time.monotonic() < end
            time.sleep(0.05)

    def test_a_field_that_is_given_twice(self, server: Server, model: Path) -> None:
        fields = [("rounds", "1"), ("rounds", "2"), ("model_type", "pytorch")]
        answer = server.call(
            "POST", "/start-aggregator", data=fields, files={"model_file": ("m", b"")}
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "rounds is given twice")


class TestKeys:
    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            "Basic",
            "Basic !!!",
            "Basic Og==",
            "Bearer x",
            "Bearer :",
            "Digest a",
            "Basic w7Y6w7Y=",
            "Bearer \xe4:\xf6",
        ],
    )
    def test_calls_without_one_are_refused(self, server: Server, authorization: str) -> None:
        headers = {"Authorization": authorization.encode("latin-1")} if authorization else {}
        for path in (
            "/aggregators",
            "/docs",
            "/openapi.json",
            "/docs-files/swagger-ui.css",
            "/nowhere",
            "/",
        ):
            answer = requests.get(server.address + path, headers=headers, timeout=30)
            assert answer.status_code == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]

    def test_a_wrong_secret(self, server: Server) -> None:
        answer = requests.get(
            server.address + "/aggregators", auth=(server.key[0], "x"), timeout=30
        )
        assert answer.status_code == 401
        assert answer.json()["error"] == "this client id and secret are not known here"

    def test_bearer_and_health(self, server: Server) -> None:
        headers = {"Authorization": f"Bearer {server.key[0]}:{server.key[1]}"}
        assert requests.get(server.address + "/aggregators", headers=headers, timeout=30).ok
        assert requests.get(server.address + "/health", timeout=30).json()["status"] == "ok"

    def test_netrc(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "netrc").write_text(
            f"machine 127.0.0.1\nlogin {server.key[0]}\npassword {server.key[1]}\n"
        )
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        assert requests.get(server.address + "/aggregators", timeout=30).ok

    def test_they_are_listed_rotated_and_revoked_while_it_serves(
        self, server: Server, model: Path
    ) -> None:
        def run(*words: str) -> str:
            command = [
                sys.executable,
                "-m",
                "fusion_nb.cli",
                "keys",
                *words,
                "--state",
                str(server.state),
            ]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        def ask(auth: tuple[str, str]) -> requests.Response:
            return requests.get(server.address + "/aggregators", auth=auth, timeout=30)

        made = dict(line.split("=", 1) for line in run("new").splitlines()[-2:])
        other = (made["CLIENT_ID"], made["CLIENT_SECRET"])
        server.start_aggregator(model)
        assert ask(other).json() == {"aggregators": []}  # those of other clients are not listed
        assert len(server.call("GET", "/aggregators").json()["aggregators"]) >= 1
        assert other[0] in run("list")
        rotated = dict(line.split("=", 1) for line in run("rotate", other[0]).split())
        assert ask(other).status_code == 401
        assert ask((other[0], rotated["CLIENT_SECRET"])).ok
        run("revoke", other[0])
        assert ask((other[0], rotated["CLIENT_SECRET"])).status_code == 401
        assert server.call("GET", "/aggregators").ok

    def test_only_a_hash_is_kept_for_the_owner_alone(self, tmp_path: Path) -> None:
        keys = Keys(tmp_path)
        key = keys.new()
        path = tmp_path / "keys.json"
        assert key.client_secret not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert keys.admits(key.client_id, key.client_secret)
        assert not keys.admits(key.client_id, "")
        assert not keys.admits("", "")
        assert Keys(tmp_path, Key("other", "secret")).admits("other", "secret")

    def test_a_page_of_another_site_is_refused(self, server: Server) -> None:
        answer = server.call(
            "POST", "/stop", json={"aggregator_id": "x"}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in {name.lower() for name in answer.headers}


class TestTheLog:
    def test_it_is_json_and_holds_no_secret_no_id_and_no_data(
        self, server: Server, model: Path, rows: Path
    ) -> None:
        aggregator_id = server.ready(model, rows, rounds=1)
        server.train(aggregator_id)
        server.start_party(aggregator_id, rows, party="a name")
        text = (server.state / "server.log").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert {"call", "training begins", "training ended"} <= {line["message"] for line in lines}
        for secret in (server.key[1], aggregator_id, "a name"):
            assert secret not in text
        assert stat.S_IMODE((server.state / "server.log").stat().st_mode) == 0o600

    def test_a_fault_of_ours_has_an_id_that_is_in_it(self, server: Server, model: Path) -> None:
        aggregator_id = server.start_aggregator(model).json()["aggregator_id"]
        folder = server.state / "aggregators" / aggregator_id
        folder.joinpath("parties").rename(
            folder / "elsewhere"
        )  # as a disk that fails would have it
        answer = server.stop(aggregator_id)
        assert answer.status_code == 500
        fault = next(
            line
            for line in map(json.loads, (server.state / "server.log").read_text().splitlines())
            if line.get("id") == answer.json()["id"]
        )
        assert fault["error_type"] == "FileNotFoundError"
        assert str(folder) not in answer.text


@pytest.mark.parametrize(
    "is_there",
    [
        pytest.param(False, marks=pytest.mark.slow, id="of nothing"),
        pytest.param(True, id="of a trained aggregator"),
    ],
)
def test_requests_made_up_at_random_find_no_fault(
    server: Server, model: Path, rows: Path, tmp_path: Path, is_there: bool
) -> None:
    """Schemathesis reads the OpenAPI document, and sends what it allows and what it doesn't."""
    if is_there:
        aggregator_id = server.ready(model, rows, rounds=2)
        assert server.train(aggregator_id).ok
        (tmp_path / "config.toml").write_text(
            f'parameters = {{ aggregator_id = "{aggregator_id}" }}\n'
        )
    else:
        (tmp_path / "config.toml").touch()
    program = Path(sys.executable).parent / "schemathesis"
    command = [
        str(program),
        "--config-file",
        str(tmp_path / "config.toml"),
        "run",
        f"{server.address}/openapi.json",
    ]
    command += [
        "--url",
        server.address,
        "--auth",
        ":".join(server.key),
        "--max-examples",
        "25",
        "--seed",
        "1",
    ]
    # Not asked: that all that the document allows is taken, since it can't say what a model file
    # is.
    command += ["--exclude-checks", "positive_data_acceptance", "--no-color"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Tested: 10" in done.stdout
