"""The limit on tries of keys."""

from __future__ import annotations

import base64
from http.client import HTTPConnection, HTTPResponse

from serving import PATIENCE, Server

from fusion_nb.service.api.key_tries import KeyTries


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def guess(tries: KeyTries, address: str) -> int:
    """Try wrong keys until the address has to wait, and return how many it could try."""
    count = 0
    while not tries.seconds_left(address, f"guess {count}"):
        tries.refused(address, f"guess {count}")
        count += 1
    return count


class TestKeyTries:
    def test_an_address_waits_after_many_wrong_keys(self) -> None:
        tries = KeyTries(clock := Clock())
        assert guess(tries, "a") == 30
        assert tries.seconds_left("b", "x") == 0
        left = tries.seconds_left("a", "x")
        clock.now += left - 1
        assert tries.seconds_left("a", "x") == 1
        clock.now += 1
        assert guess(tries, "a") == 1
        clock.now += 3600
        assert guess(tries, "a") == 30

    def test_a_key_that_was_valid_there_is_still_checked(self) -> None:
        tries = KeyTries(Clock())
        tries.accepted("a", "good")
        tries.accepted("b", "other")
        guess(tries, "a")
        assert tries.seconds_left("a", "good") == 0
        assert tries.seconds_left("a", "other") > 0
        tries.refused("a", "good")  # it was revoked
        assert tries.seconds_left("a", "good") > 0

    def test_memory_is_bounded(self) -> None:
        tries = KeyTries(Clock())
        for number in range(5000):
            tries.refused(f"10.0.{number // 256}.{number % 256}", "x")
            tries.accepted("a", f"key {number}")
        assert len(tries) <= 2048


class TestServer:
    """From an address of its own, so that the other tests' address is not limited."""

    def ask(self, server: Server, secret: str, path: str = "/aggregators") -> HTTPResponse:
        host, port = server.address.removeprefix("http://").split(":")
        calling = HTTPConnection(host, int(port), PATIENCE, ("127.0.0.9", 0))
        key = base64.b64encode(f"{server.key[0]}:{secret}".encode()).decode()
        try:
            headers = {
                "Authorization": f"Basic {key}",
                "X-Forwarded-For": f"10.0.0.{len(secret)}",  # not believed
            }
            calling.request("GET", path, headers=headers)
            answer = calling.getresponse()
            answer.read()
            return answer
        finally:
            calling.close()

    def test_guesses_are_answered_429_and_other_addresses_are_not(self, server: Server) -> None:
        assert self.ask(server, server.key[1]).status == 200
        found = [self.ask(server, "x" * number) for number in range(1, 60)]
        statuses = [answer.status for answer in found]
        assert set(statuses) == {401, 429}
        assert statuses[:30] == [401] * 30
        last = next(answer for answer in found if answer.status == 429)
        assert int(str(last.headers["Retry-After"])) >= 1
        assert self.ask(server, server.key[1]).status == 200  # it was valid from there before
        assert self.ask(server, "guess", "/health").status == 200
        assert server.call("GET", "/aggregators").ok
