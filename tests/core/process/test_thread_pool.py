"""Worker threads: order, how far they work ahead, and what an exception leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from fusion_nb.core.process import cell_output
from fusion_nb.core.process.thread_pool import WorkerPool
from fusion_nb.errors import Stopped


def pool(num_workers: int = 2, gate: Callable[[], None] = lambda: None) -> WorkerPool[int]:
    return WorkerPool(range(num_workers), gate, nullcontext)


def test_results_come_in_order_and_only_a_few_are_ahead() -> None:
    done: list[int] = []
    is_idle = threading.Semaphore(0)

    def task(_: int, item: int) -> int:
        done.append(item)
        is_idle.release()
        return item

    workers = pool()
    results = workers.map(task, range(100))
    assert next(results) == 0
    for _ in range(5):  # two for each worker, and one in place of that which was read
        assert is_idle.acquire(timeout=240)
    assert not is_idle.acquire(timeout=0.05)
    assert sorted(done) == list(range(5))
    assert list(results) == list(range(1, 100))
    workers.close()


def test_an_exception_is_raised_and_the_next_map_works() -> None:
    def task(_: int, item: int) -> float:
        return 1 / item

    workers = pool()
    with pytest.raises(ZeroDivisionError):
        list(workers.map(task, [1, 0, 2, 3, 4, 5]))
    assert list(workers.map(task, [1, 2])) == [1, 0.5]
    workers.close()


def test_tasks_whose_results_nobody_reads_are_given_up() -> None:
    started, given_up = threading.Event(), threading.Event()

    def task(_: int, item: int) -> int:
        if item:
            started.set()
            while True:
                try:
                    workers.gate()
                except Stopped:
                    given_up.set()
                    raise
        return item

    workers = pool()
    results = workers.map(task, range(3))
    assert next(results) == 0
    assert started.wait(240)
    results.close()  # type: ignore[attr-defined]
    assert given_up.is_set()
    workers.close()


def test_every_worker_binds_its_output_to_the_cell_that_started_it() -> None:
    bound: list[str] = []

    class Hook:
        def current_cell(self) -> tuple[str, str]:
            return "cell", "execution"

        def bind_output(self) -> Callable[[], None]:
            return lambda: bound.append(threading.current_thread().name)

    cell_output.set_hook(Hook())
    try:
        workers = pool(3)
        assert cell_output.current_cell() == ("cell", "execution")
    finally:
        cell_output.set_hook(None)
    assert list(workers.map(lambda _, item: item, range(30))) == list(range(30))
    workers.close()
    assert len(bound) == 3
    assert cell_output.current_cell() == ("", "")


def test_items_are_read_as_they_are_needed() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    workers = pool(1)
    results: Any = workers.map(lambda _, item: item, items())
    next(results)
    assert len(read) <= 3
    results.close()
    workers.close()
