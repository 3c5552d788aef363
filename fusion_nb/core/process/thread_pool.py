"""Worker threads that answer for parties, each with a model of its own."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from fusion_nb.core.process import cell_output
from fusion_nb.errors import Stopped

#: Answers per worker that may wait to be read; each holds the weights of a model.
_PREFETCH = 2

Resource = TypeVar("Resource")
Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerPool(Generic[Resource]):
    """Daemon threads, one for each model (or process) that they work with.

    gate:    called before each task, and to be called within it; it may block or raise Stopped
    context: makes the context that a thread stays in for its whole life

    `concurrent.futures` has no daemon threads: a kernel's shutdown would wait for their work.
    """

    def __init__(
        self,
        resources: Sequence[Resource],
        gate: Callable[[], None],
        context: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._gate, self._given_up = gate, threading.Event()
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[Resource], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._threads = []
        bind_output = cell_output.bind_output()
        for i, resource in enumerate(resources):
            thread = threading.Thread(
                target=self._work,
                args=(resource, context, bind_output),
                name=f"fusion_nb worker {i}",
                daemon=True,
            )
            thread.start()
            self._threads.append(thread)

    def map(
        self, task: Callable[[Resource, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield `task(resource, item)` for each item, in order.

        An exception of a task is raised here, and the tasks after it are given up.
        """
        rest, running = iter(items), deque[Future[Result]]()
        try:
            for item in itertools.islice(rest, _PREFETCH * len(self._threads)):
                running.append(self._submit(task, item))
            while running:
                result = running.popleft().result()
                running.extend(self._submit(task, item) for item in itertools.islice(rest, 1))
                yield result
        finally:
            self._given_up.set()
            for future in running:
                if not future.cancel():
                    future.exception()  # waits: a model must be free before it is asked again
            self._given_up.clear()

    def gate(self) -> None:
        """Pass the gate. Raises Stopped too where nobody reads the results any more."""
        if self._given_up.is_set():
            raise Stopped
        self._gate()

    def close(self) -> None:
        """End the threads; running tasks are given up."""
        self._given_up.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # the garbage collector may run in any
                thread.join()

    def _submit(self, task: Callable[[Resource, Item], Result], item: Item) -> Future[Result]:
        future: Future[Result] = Future()
        self._tasks.put((future, lambda resource: task(resource, item)))
        return future

    def _work(
        self,
        resource: Resource,
        context: Callable[[], AbstractContextManager[Any]],
        bind_output: Callable[[], None],
    ) -> None:
        bind_output()
        with context():
            while (submitted := self._tasks.get()) is not None:
                future, task = submitted
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    self.gate()
                    future.set_result(task(resource))
                except BaseException as error:
                    future.set_exception(error)
                del future, task, submitted  # or an idle worker would keep a round's arrays
