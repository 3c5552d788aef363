"""Threads that answer for parties: each with a model of its own, and replies in the order in which
they were asked.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from fusion_nb.core import cell_output
from fusion_nb.errors import Stopped

#: Answers that a worker may be ahead of whoever reads them; each holds the weights of a model.
_AHEAD = 2


class Workers:
    """Daemon threads, one for each model. `concurrent.futures` would make a kernel's shutdown wait
    for their work.

    gate:     called before each task, and to be called within it; it may block or raise Stopped
    entering: makes what each thread stays in for its whole life
    """

    def __init__(
        self,
        models: Sequence[Any],
        gate: Callable[[], None],
        entering: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._gate, self._given_up = gate, threading.Event()
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[Any], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._threads = []
        tie = cell_output.bind_output()
        for i, model in enumerate(models):
            thread = threading.Thread(
                target=self._work,
                args=(model, entering, tie),
                name=f"fusion_nb worker {i}",
                daemon=True,
            )
            thread.start()
            self._threads.append(thread)

    def map(self, task: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield `task(model, item)` for each item in order. What it raises is raised here, and the
        rest is given up.
        """
        rest, under_way = iter(items), deque[Future[Any]]()
        try:
            for item in itertools.islice(rest, _AHEAD * len(self._threads)):
                under_way.append(self._submit(task, item))
            while under_way:
                answer = under_way.popleft().result()
                under_way.extend(self._submit(task, item) for item in itertools.islice(rest, 1))
                yield answer
        finally:
            self._given_up.set()
            for future in under_way:
                if not future.cancel():
                    future.exception()  # waits: a model must be free before it is asked again
            self._given_up.clear()

    def gate(self) -> None:
        """Pass the gate; raise Stopped as well where nobody reads the answers any more."""
        if self._given_up.is_set():
            raise Stopped
        self._gate()

    def close(self) -> None:
        """End the threads; what is under way is given up."""
        self._given_up.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # the garbage collector may run in any
                thread.join()

    def _submit(self, task: Callable[[Any, Any], Any], item: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._tasks.put((future, lambda model: task(model, item)))
        return future

    def _work(
        self,
        model: Any,
        entering: Callable[[], AbstractContextManager[Any]],
        tie: Callable[[], None],
    ) -> None:
        tie()
        with entering():
            while (asked := self._tasks.get()) is not None:
                future, task = asked
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    self.gate()
                    future.set_result(task(model))
                except BaseException as error:
                    future.set_exception(error)
                del future, task, asked  # or an idle worker would keep a round's arrays
