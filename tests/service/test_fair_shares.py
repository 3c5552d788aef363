"""The shares that clients have of the processes that read uploads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from serving import PATIENCE, Server

from fusion_nb.service.processes import inspection_pool
from fusion_nb.service.processes.inspection_pool import InspectionPool, Inspections


class Readers:
    """Stands in for the processes: a task lasts until it is released, and its order is noted."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.slowed: list[str] = []
        self.num_made = 0
        self._released: dict[str, asyncio.Event] = {}

    def release(self, name: str) -> None:
        self._released.setdefault(name, asyncio.Event()).set()

    def make(self, timeout: float, max_memory: int) -> Reader:
        self.num_made += 1
        return Reader(self)

    async def hold(self, name: str) -> None:
        self.begun.append(name)
        await self._released.setdefault(name, asyncio.Event()).wait()


class Reader:
    def __init__(self, all: Readers) -> None:
        self._all = all
        self.on_begin: Callable[[], None] = lambda: None
        self.is_slowed = False
        self._name = ""

    async def ask(self, task: str, name: str) -> dict[str, Any]:
        self._name = name
        self.on_begin()
        await self._all.hold(name)
        return {"name": name}

    def slow_down(self) -> None:
        if not self.is_slowed:
            self.is_slowed = True
            self._all.slowed.append(self._name)

    async def close(self) -> None:
        pass


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Readers:
    made = Readers()
    monkeypatch.setattr(inspection_pool, "Inspector", made.make)
    return made


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def played(scene: Callable[[], Awaitable[None]]) -> None:
    async def play() -> None:
        await scene()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(play())


def ask(pool: InspectionPool | Inspections, name: str, client: str, size: int = 0) -> Any:
    return asyncio.create_task(pool.ask("x", client=client, size=size, name=name))


class TestShares:
    def test_slow_uploads_of_a_client_leave_processes_for_others(self, readers: Readers) -> None:
        async def scene() -> None:
            pool = InspectionPool(2, 1, 0, max_processes=6, quick_seconds=0.001)
            for number in range(10):
                ask(pool, f"slow {number}", "a")
            await until(lambda: len(readers.begun) == 4)
            await ask_and_release(pool, readers, "small", "b")
            assert readers.begun[-1] == "small"
            assert len(readers.begun) == 5  # no more of the first client's

        played(scene)

    def test_a_quick_upload_passes_the_slow_ones_of_its_own_client(self, readers: Readers) -> None:
        async def scene() -> None:
            pool = InspectionPool(2, 1, 0, quick_seconds=0.001)
            for number in range(3):
                ask(pool, f"slow {number}", "a")
            await until(lambda: len(readers.begun) == 3)
            await ask_and_release(pool, readers, "small", "a")
            assert set(readers.slowed) == {"slow 0", "slow 1", "slow 2"}

        played(scene)

    def test_the_client_with_fewest_tasks_is_next_and_then_the_small_upload(
        self, readers: Readers
    ) -> None:
        async def scene() -> None:
            pool = InspectionPool(2, 1, 0, quick_seconds=3600)
            ask(pool, "a 1", "a")
            ask(pool, "a 2", "a")
            await until(lambda: len(readers.begun) == 2)
            ask(pool, "a large", "a", 1 << 40)
            ask(pool, "a small", "a", 10)
            ask(pool, "b", "b")
            await asyncio.sleep(0)
            readers.release("a 1")
            await until(lambda: len(readers.begun) == 3)
            readers.release("b")
            await until(lambda: len(readers.begun) == 4)
            readers.release("a small")
            await until(lambda: len(readers.begun) == 5)
            assert readers.begun[2:] == ["b", "a small", "a large"]

        played(scene)

    def test_quick_uploads_use_few_processes_again(self, readers: Readers) -> None:
        async def scene() -> None:
            pool = InspectionPool(2, 1, 0, quick_seconds=3600)
            for number in range(20):
                readers.release(f"{number}")
            await asyncio.gather(*(ask(pool, f"{number}", "a") for number in range(20)))
            assert readers.num_made <= 2

        played(scene)

    def test_a_client_that_goes_away_gives_its_turn_to_the_next(self, readers: Readers) -> None:
        async def scene() -> None:
            pool = InspectionPool(1, 1, 0, quick_seconds=3600)
            first = ask(pool, "first", "a")
            waiting = ask(pool, "waiting", "a")
            last = ask(pool, "last", "a")
            await until(lambda: readers.begun == ["first"])
            waiting.cancel()
            first.cancel()
            readers.release("last")
            assert await last == {"name": "last"}
            assert readers.begun == ["first", "last"]

        played(scene)

    def test_small_uploads_do_not_wait_for_large_ones(self, readers: Readers) -> None:
        async def scene() -> None:
            both = Inspections(1, 1, 0)
            ask(both, "large", "a", 2 << 20)
            await until(lambda: readers.begun == ["large"])
            await ask_and_release(both, readers, "small", "a")

        played(scene)


async def ask_and_release(
    pool: InspectionPool | Inspections, readers: Readers, name: str, client: str
) -> None:
    readers.release(name)
    assert await ask(pool, name, client) == {"name": name}


def test_an_upload_that_is_not_whole_holds_up_nobody(server: Server, model_file: Path) -> None:
    """More uploads than there are readers stop in their middle, and another one is answered."""
    session = requests.Session()
    session.auth = (server.key[0], server.key[1])
    fields = {"model_type": "pytorch", "num_parties": "1"}
    whole = requests.Request(
        "POST",
        server.address + "/start-aggregator",
        data=fields,
        files={"model_file": ("m", model_file.read_bytes())},
    )
    prepared = session.prepare_request(whole)
    lines = [f"{name}: {value}" for name, value in prepared.headers.items()]
    host, port = server.address.removeprefix("http://").split(":")
    head = "\r\n".join(["POST /start-aggregator HTTP/1.1", f"Host: {host}", *lines, "", ""])
    body = prepared.body
    assert isinstance(body, bytes)
    held = [socket.create_connection((host, int(port)), PATIENCE) for _ in range(8)]
    try:
        for connection in held:
            connection.sendall(head.encode() + body[:-100])
        server.new_aggregator(model_file, num_parties=1)
        held[0].sendall(body[-100:])
        assert held[0].recv(12) == b"HTTP/1.1 200"
    finally:
        for connection in held:
            connection.close()
        session.close()
