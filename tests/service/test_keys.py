"""Keys of clients."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from serving import PATIENCE, Server

from fusion_nb.service.storage.keys import Key, Keys


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
    def test_calls_without_a_key_are_refused(self, server: Server, authorization: str) -> None:
        headers = {"Authorization": authorization.encode("latin-1")} if authorization else {}
        for path in (
            "/aggregators",
            "/docs",
            "/openapi.json",
            "/docs-files/swagger-ui.css",
            "/nowhere",
            "/",
        ):
            answer = requests.get(server.address + path, headers=headers, timeout=PATIENCE)
            assert answer.status_code == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]

    def test_a_wrong_secret_is_refused(self, server: Server) -> None:
        answer = requests.get(
            server.address + "/aggregators", auth=(server.key[0], "x"), timeout=PATIENCE
        )
        assert answer.status_code == 401
        assert answer.json()["error"] == "this client id and secret are not known here"

    def test_a_bearer_header_and_health_without_a_key(self, server: Server) -> None:
        headers = {"Authorization": f"Bearer {server.key[0]}:{server.key[1]}"}
        assert requests.get(server.address + "/aggregators", headers=headers, timeout=PATIENCE).ok
        assert requests.get(server.address + "/health", timeout=PATIENCE).json()["status"] == "ok"

    def test_requests_reads_the_key_from_netrc(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "netrc").write_text(
            f"machine 127.0.0.1\nlogin {server.key[0]}\npassword {server.key[1]}\n"
        )
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        assert requests.get(server.address + "/aggregators", timeout=PATIENCE).ok

    def test_keys_are_listed_rotated_and_revoked_while_the_server_runs(
        self, server: Server, model_file: Path
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
            return requests.get(server.address + "/aggregators", auth=auth, timeout=PATIENCE)

        made = dict(line.split("=", 1) for line in run("new").splitlines()[-2:])
        other = (made["CLIENT_ID"], made["CLIENT_SECRET"])
        server.start_aggregator(model_file)
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
