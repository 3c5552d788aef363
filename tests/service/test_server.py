"""The server: TLS, its folder, and its end."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving import ENDLESS, PATIENCE, serving, wait_for

from fusion_nb.errors import ServiceError
from fusion_nb.service.client import Client


def test_tls_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
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
        with Client(address) as client, pytest.raises(ServiceError, match="not accepted"):
            client.aggregators()


def test_a_second_server_for_the_same_folder_is_refused(tmp_path: Path) -> None:
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
        second = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert second.returncode == 2
    assert "another server has the folder" in second.stderr


@pytest.mark.slow
def test_a_server_that_is_terminated_leaves_runs_as_interrupted(
    tmp_path: Path, model_file: Path, rows_file: Path
) -> None:
    with serving(tmp_path / "state") as server:
        aggregator_id = server.ready(model_file, rows_file, rounds=ENDLESS)
        server.train(aggregator_id, wait=False)
        wait_for(lambda: server.status(aggregator_id)["round"])
        server.close()
        server.start()
        assert server.status(aggregator_id)["state"] == "interrupted"


@pytest.mark.slow
def test_waiting_clients_are_answered_when_the_server_ends(
    tmp_path: Path, model_file: Path, rows_file: Path
) -> None:
    with serving(tmp_path / "state") as server, ThreadPoolExecutor() as pool:
        aggregator_id = server.ready(model_file, rows_file, rounds=ENDLESS)
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
