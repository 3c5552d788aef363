"""Limits on connections, which hold before any key is checked."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
import requests
from serving import PATIENCE, Server, serving

from fusion_nb.service.network.addresses import owner
from fusion_nb.service.network.headers import MAX_HEAD
from fusion_nb.service.network.listener import Connections, connection_limit

#: Connections of the server in all; one address has a quarter of them.
MAX_CONNECTIONS = 16


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes few connections, and waits a second for the head of a request."""
    options = ("--max-connections", str(MAX_CONNECTIONS), "--head-seconds", "1")
    with serving(tmp_path_factory.mktemp("strict"), *options) as server:
        yield server


def place(server: Server) -> tuple[str, int]:
    host, port = server.address.removeprefix("http://").split(":")
    return host, int(port)


def connect(server: Server, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    made = socket.create_connection(place(server), PATIENCE, (source, 0))
    made.sendall(sent)
    return made


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and the body of an answer after which the server closes."""
    found = HTTPResponse(connection)
    found.begin()
    body = found.read()
    return found.status, body


def is_closed(connection: socket.socket) -> bool:
    """Wait for the server's end of a connection without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


class TestTimeOfAHead:
    @pytest.mark.parametrize(
        "begun",
        [
            b"G",
            b"GET /health HTTP/1.1\r\n",
            b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: ",
            b"POST /start-aggregator HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n",
        ],
    )
    def test_a_head_that_is_not_whole_in_time_is_answered(
        self, strict: Server, begun: bytes
    ) -> None:
        with connect(strict, begun) as connection:
            status, body = answer(connection)
            assert (status, b"took more than 1 seconds" in body) == (408, True)
            assert is_closed(connection)

    def test_a_connection_without_a_request_is_closed(self, strict: Server) -> None:
        with connect(strict) as connection:
            assert is_closed(connection)

    def test_the_second_head_of_a_connection_has_a_limit_too(self, strict: Server) -> None:
        with connect(strict, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
            found = HTTPResponse(connection)
            found.begin()
            assert (found.status, found.read()[:1]) == (200, b"{")
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: ")
            assert answer(connection)[0] == 408

    def test_the_rest_of_a_refused_body_is_not_waited_for(self, strict: Server) -> None:
        head = b"POST /start-aggregator HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
        with connect(strict, head + b"x") as connection:
            found = HTTPResponse(connection)
            found.begin()
            assert found.status == 401
            found.read()
            assert is_closed(connection)


class TestLengthOfAHead:
    @pytest.mark.parametrize("count", [1, 200])
    @pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "in parts"])
    def test_a_head_beyond_the_limit_is_refused(
        self, server: Server, count: int, is_whole: bool
    ) -> None:
        value = b"x" * (2 * MAX_HEAD // count)
        lines = b"".join(b"X-%d: %s\r\n" % (number, value) for number in range(count))
        head = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + lines
        with connect(server, head + b"\r\n" * is_whole) as connection:
            status, body = answer(connection)
        assert (status, b"16,384 bytes" in body) == (431, True)

    def test_an_address_beyond_the_limit_is_refused(self, server: Server) -> None:
        found = requests.get(server.address + "/health?" + "x" * 20_000, timeout=PATIENCE)
        assert found.status_code == 431
        assert found.headers["Cache-Control"] == "no-store"

    def test_what_is_no_http_is_answered_as_json(self, server: Server) -> None:
        with connect(server, b"\x16\x03\x01 nonsense\r\n\r\n") as connection:
            status, body = answer(connection)
        assert (status, body[:10]) == (400, b'{"error": ')


class TestNumber:
    def test_idle_connections_of_an_address_keep_nobody_out(self, strict: Server) -> None:
        held = [connect(strict, b"GET /health HTTP/1.1\r\nX: ") for _ in range(3 * MAX_CONNECTIONS)]
        try:
            for source in ("127.0.0.1", "127.0.0.2"):
                calling = HTTPConnection(*place(strict), PATIENCE, (source, 0))
                calling.request("GET", "/health")
                assert calling.getresponse().status == 200
                calling.close()
        finally:
            for connection in held:
                connection.close()

    def test_busy_connections_are_kept_and_another_is_refused(self, strict: Server) -> None:
        key = base64.b64encode(":".join(strict.key).encode())
        head = b"POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += (
            b"Authorization: Basic "
            + key
            + b"\r\nContent-Length: 22\r\nExpect: 100-continue\r\n\r\n"
        )
        # Their bodies are waited for, since they have a key.
        held = [connect(strict, head, "127.0.0.3") for _ in range(MAX_CONNECTIONS // 4)]
        for connection in held:
            assert b"100" in connection.recv(100)  # it waits for the body from now on
        refused = connect(strict, source="127.0.0.3")
        assert answer(refused)[0] == 503
        assert requests.get(strict.address + "/health", timeout=PATIENCE).ok
        for connection in held:
            connection.sendall(b'{"aggregator_id": "x"}')
            found = HTTPResponse(connection)
            found.begin()
            assert found.status == 404
            connection.close()
        refused.close()

    def test_a_new_connection_takes_the_place_of_the_longest_idle(self) -> None:
        pairs = [socket.socketpair() for _ in range(6)]
        counted = Connections(8, max_per_address=3)
        try:
            peers = [("10.0.0.1", number) for number in range(6)]
            for number in range(3):
                assert counted.admit(pairs[number][0], peers[number])
            counted.set_busy(peers[0], True)
            assert counted.admit(pairs[3][0], peers[3])
            assert pairs[1][1].recv(1) == b""
            for number in (2, 3):
                counted.set_busy(peers[number], True)
            assert not counted.admit(pairs[4][0], peers[4])
            assert counted.admit(pairs[5][0], ("10.0.0.2", 1))
        finally:
            for pair in pairs:
                for end in pair:
                    end.close()

    def test_an_address_is_that_of_one_owner(self) -> None:
        assert owner("2001:db8:1:2::1") == owner("2001:db8:1:2:ffff::9")
        assert owner("2001:db8:1:2::1") != owner("2001:db8:1:3::1")
        assert owner("::ffff:10.1.2.3") == owner("10.1.2.3") != owner("10.1.2.4")
        assert owner("fe80::1%eth0") == "fe80::/64"
        assert owner("not an address") == "not an address"

    def test_files_of_the_process_bound_it(self) -> None:
        assert connection_limit(1) == 1
        assert 1 <= connection_limit(10) <= 10


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_connections_that_were_dropped_leave_no_file(strict: Server) -> None:
    for _ in range(40):
        connect(strict, b"GET /").close()
    assert requests.get(strict.address + "/health", timeout=PATIENCE).ok
    files = list(Path(f"/proc/{strict.process.pid}/fd").iterdir())
    assert len(files) < 64
