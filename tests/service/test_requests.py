"""Requests that are too large, have wrong fields, or are made up at random."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import MAX_UPLOAD, PATIENCE, Server, wait_for
from upload_files import archive, assert_refused


class TestSizes:
    def test_a_request_beyond_the_limit_is_refused(self, server: Server, model_file: Path) -> None:
        answer = server.start_aggregator(bytes(MAX_UPLOAD + 1))
        assert (answer.status_code, answer.json()["error"]) == (
            413,
            f"a request may have {MAX_UPLOAD:,} bytes",
        )

    def test_a_stream_beyond_the_limit_is_refused(self, server: Server) -> None:
        def parts() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="model_file"; filename="m"\r\n\r\n'
            for _ in range(MAX_UPLOAD // 200_000 + 2):
                yield bytes(200_000)
            yield b"\r\n--x--\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert (
            server.call("POST", "/start-aggregator", data=parts(), headers=headers).status_code
            == 413
        )

    @pytest.mark.parametrize("path", ["/train", "/stop"])
    @pytest.mark.parametrize("has_length", [True, False])
    def test_json_beyond_the_limit_is_refused(
        self, server: Server, path: str, has_length: bool
    ) -> None:
        body = b'{"aggregator_id": [' + b"[]," * 100_000 + b"[]]}"
        sent: Any = body if has_length else iter([body[:1000], body[1000:]])
        answer = server.call("POST", path, data=sent, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]) == (
            413,
            "a request may have 65,536 bytes",
        )

    @pytest.mark.slow
    def test_an_archive_with_too_many_entries_is_refused(self, server: Server) -> None:
        content = archive(**{f"{number:x}": b"" for number in range(100_001)})
        assert len(content) < MAX_UPLOAD
        assert_refused(
            server.start_aggregator(content, model_type="keras", fusion_algorithm=""), server
        )

    def test_refused_uploads_leave_no_file(self, server: Server) -> None:
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
            (
                {"model_type": "pickle"},
                "model_type",
                "there are: doc2vec, keras, lightgbm, sklearn,",
            ),
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
        self, server: Server, model_file: Path, fields: dict[str, str], field: str, said: str
    ) -> None:
        answer = server.start_aggregator(model_file, **fields)
        body = answer.json()
        assert (answer.status_code, body["field"]) == (400, field), body
        assert said in body["hint"]

    def test_an_optimizer_that_the_framework_lacks(self, server: Server, model_file: Path) -> None:
        answer = server.start_aggregator(model_file, optimizer="optim.Adadeltaa")
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
    def test_bodies_without_an_id(self, server: Server, path: str, body: str, field: str) -> None:
        answer = server.call("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text

    def test_files_as_text_and_text_as_files_are_refused(self, server: Server) -> None:
        answer = server.call(
            "POST", "/start-aggregator", data={"model_file": "x"}, files={"rounds": ("r", b"1")}
        )
        assert answer.status_code == 400
        assert (
            server.call("POST", "/start-aggregator", json={"rounds": 1}).json()["field"] == "body"
        )

    @pytest.mark.parametrize("charset", ["undefined", "punycode", "no-such"])
    def test_unknown_charsets_are_refused(self, server: Server, charset: str) -> None:
        kind = f"multipart/form-data; boundary=x; charset={charset}"
        body = b'--x\r\nContent-Disposition: form-data; name="rounds"\r\n\r\n\xff1\r\n--x--\r\n'
        answer = server.call("POST", "/start-aggregator", data=body, headers={"Content-Type": kind})
        assert answer.status_code == 400

    def test_a_client_that_disconnects_is_no_failure(self, server: Server) -> None:
        host, port = server.address.removeprefix("http://").split(":")
        token = base64.b64encode(":".join(server.key).encode()).decode()
        with socket.create_connection((host, int(port))) as connection:
            head = (
                "POST /start-aggregator HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                "multipart/form-data; boundary=x\r\n"
            )
            connection.sendall(
                f"{head}Authorization: Basic {token}\r\nContent-Length: 9999\r\n\r\n--x".encode()
            )
        path = server.state / "server.log"
        wait_for(lambda: '"status": 499' in path.read_text())

    def test_a_field_that_is_given_twice_is_refused(self, server: Server, model_file: Path) -> None:
        fields = [("rounds", "1"), ("rounds", "2"), ("model_type", "pytorch")]
        answer = server.call(
            "POST", "/start-aggregator", data=fields, files={"model_file": ("m", b"")}
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "rounds is given twice")


@pytest.mark.parametrize(
    ("is_there", "num_examples"),
    [
        pytest.param(False, 25, marks=pytest.mark.slow, id="of nothing"),
        pytest.param(True, 25, marks=pytest.mark.slow, id="of a trained aggregator"),
    ],
)
def test_random_requests_cause_no_failure(
    server: Server,
    model_file: Path,
    rows_file: Path,
    tmp_path: Path,
    is_there: bool,
    num_examples: int,
) -> None:
    """Schemathesis sends requests that the OpenAPI document allows, and others."""
    if is_there:
        aggregator_id = server.ready(model_file, rows_file, rounds=2)
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
        str(num_examples),
        "--seed",
        "1",
    ]
    # Not asked: that all that the document allows is taken, since it can't say what a model file
    # is.
    command += ["--exclude-checks", "positive_data_acceptance", "--no-color"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Tested: 10" in done.stdout
