"""Host and Origin of calls, and the headers of answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
import requests
from serving import PATIENCE, Server
from starlette.datastructures import Headers

from fusion_nb.service.api import create_app
from fusion_nb.service.api.sites import Sites
from fusion_nb.service.network.addresses import split_host
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage.keys import Keys


class TestHost:
    @pytest.mark.parametrize(
        "host",
        [
            "other.example",
            "localhost.other.example",
            "127.0.0.1.other.example:80",
            "10.9.8.7",
            "user@localhost",
            "localhost:port",
            "[::1",
            "",
        ],
    )
    @pytest.mark.parametrize("path", ["/health", "/docs", "/aggregators"])
    def test_another_name_is_refused(self, server: Server, host: str, path: str) -> None:
        answer = server.call("GET", path, headers={"Host": host})
        assert answer.status_code == 421
        assert "--allowed-host" in answer.json()["hint"]

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8765"])
    def test_names_of_loopback_are_its_own(self, server: Server, host: str) -> None:
        assert server.call("GET", "/aggregators", headers={"Host": host}).ok

    def test_names_that_the_operator_allows(self) -> None:
        sites = Sites.of("0.0.0.0", ["fusion.example", "other.example."], [])
        address = ("192.0.2.5", 8765)
        for host in ("fusion.example", "FUSION.example:443", "other.example", "192.0.2.5:8765"):
            assert sites.refusal(Headers({"host": host}), address) is None
        for host in ("0.0.0.0", "192.0.2.6", "x.fusion.example"):
            refusal = sites.refusal(Headers({"host": host}), address)
            assert refusal is not None
            assert refusal.status_code == 421
        assert Sites.of("x", ["*"], []).refusal(Headers({"host": "any.example"}), None) is None

    def test_the_host_that_it_listens_on(self) -> None:
        sites = Sites.of("fusion.example", [], [])
        assert sites.refusal(Headers({"host": "fusion.example:8765"}), None) is None

    def test_a_host_is_read_strictly(self) -> None:
        assert split_host("[::0001]:80") == ("::1", "80")
        assert split_host("a b") is None
        assert split_host("a/b") is None


class TestOrigin:
    @pytest.mark.parametrize(
        "origin",
        [
            "http://other.example",
            "null",
            "http://127.0.0.1:1",
            "https://127.0.0.1",
            "file://",
            "http://[",
            "http://user@127.0.0.1",
            "",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_another_site_is_refused(self, server: Server, origin: str, method: str) -> None:
        path = "/aggregators" if method == "GET" else "/stop"
        answer = server.call(method, path, headers={"Origin": origin}, json={"aggregator_id": "x"})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers

    def test_pages_of_its_own_may_call_it(self, server: Server) -> None:
        port = server.address.rpartition(":")[2]
        for name in ("127.0.0.1", "localhost"):
            headers = {"Origin": f"http://{name}:{port}", "Sec-Fetch-Site": "same-origin"}
            assert server.call("GET", "/aggregators", headers=headers).ok

    def test_sites_that_the_operator_allows(self) -> None:
        sites = Sites.of("127.0.0.1", [], ["https://lab.example/"])
        given = {"host": "localhost:8765", "sec-fetch-site": "cross-site"}
        allowed = Headers({**given, "origin": "https://lab.example"})
        assert sites.refusal(allowed, None) is None
        for origin in ("https://lab.example.org", "http://lab.example", "null"):
            assert sites.refusal(Headers({**given, "origin": origin}), None) is not None
        assert sites.refusal(Headers(given), None) is not None

    def test_pages_of_an_allowed_site_may_read_the_answers(self, tmp_path: Path) -> None:
        settings = Settings(state=tmp_path, allowed_origins=("https://lab.example",))
        transport = httpx.ASGITransport(create_app(settings, Keys(tmp_path)))

        async def ask(origin: str) -> tuple[httpx.Response, httpx.Response]:
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                asked = await client.options("/stop", headers=headers)
                return asked, await client.get("/health", headers=headers)

        for origin, is_allowed in (("https://lab.example", True), ("https://x.example", False)):
            asked, found = asyncio.run(ask(origin))
            assert found.status_code == (200 if is_allowed else 403)
            for answer in (asked, found):
                allowed = answer.headers.get("access-control-allow-origin")
                assert (allowed == origin) == is_allowed

    def test_behind_a_proxy_the_browsers_host_is_its_own(self) -> None:
        sites = Sites.of("127.0.0.1", ["*"], [])
        given = {"host": "hub.example", "origin": "https://hub.example"}
        assert sites.refusal(Headers(given), None) is None
        assert sites.refusal(Headers({**given, "origin": "https://x.example"}), None) is not None


class TestHeaders:
    @pytest.mark.parametrize("path", ["/docs", "/health", "/aggregators", "/nowhere", "/status/x"])
    @pytest.mark.parametrize("has_key", [True, False])
    def test_every_answer_has_them(self, server: Server, path: str, has_key: bool) -> None:
        key = (server.key[0], server.key[1]) if has_key else None
        found = requests.get(server.address + path, auth=key, timeout=PATIENCE).headers
        assert found["Cache-Control"] == "no-store"
        assert found["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in found["Content-Security-Policy"]
        assert found["X-Frame-Options"] == "DENY"
