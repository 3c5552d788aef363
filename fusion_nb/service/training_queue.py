"""The queue of runs: a few aggregators train at the same time, the others wait for their turn."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fusion_nb.service.aggregator import (
    INTERRUPTED,
    STOPPED,
    TRAINING,
    Aggregator,
    server_failure,
)
from fusion_nb.service.error_log import log_failure
from fusion_nb.service.processes import training_supervisor
from fusion_nb.service.settings import Settings

_log = logging.getLogger(__name__)


class TrainingQueue:
    """Trains aggregators in the order in which they were added, each in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: list[Aggregator] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, aggregator: Aggregator) -> None:
        """Queue a run, and start it if there is room."""
        aggregator.stop.clear()
        aggregator.done.clear()
        self._waiting.append(aggregator)
        self._start_next()

    def position(self, aggregator: Aggregator) -> int | None:
        """Return the number of runs before this one, or None if it is not waiting."""
        return self._waiting.index(aggregator) if aggregator in self._waiting else None

    async def stop(self, aggregator: Aggregator) -> None:
        """Stop a run at its last whole round, or take it out of the queue, and wait for its end."""
        if aggregator in self._waiting:
            self._waiting.remove(aggregator)
            aggregator.run.settle(STOPPED, reason="stopped while it waited in the queue")
            aggregator.done.set()
        aggregator.stop.set()
        await aggregator.done.wait()

    async def close(self) -> None:
        """End all trainings. The next server finds them interrupted, as after a crash."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_next(self, ended: asyncio.Task[None] | None = None) -> None:
        if ended is not None:
            self._tasks.discard(ended)
        while self._waiting and len(self._tasks) < self._settings.workers:
            task = asyncio.get_running_loop().create_task(self._train(self._waiting.pop(0)))
            self._tasks.add(task)
            task.add_done_callback(self._start_next)

    async def _train(self, aggregator: Aggregator) -> None:
        shown = aggregator.id[:6]
        try:
            aggregator.run.change(TRAINING)
            _log.info("training begins", extra={"aggregator": shown})
            outcome = await self._supervise(aggregator)
            if outcome["state"] == INTERRUPTED and not aggregator.stop.is_set():
                await asyncio.to_thread(aggregator.begin_anew, outcome["reason"])
                outcome = await self._supervise(aggregator)
            await asyncio.to_thread(aggregator.folder.repair)
            aggregator.run.settle(**outcome)
            _log.info("training ended", extra={"aggregator": shown, "state": outcome["state"]})
        except Exception as error:
            # A failure of the server's, such as a full disk: other runs go on.
            log_failure(_log, "training was lost", error, aggregator=shown)
            aggregator.run.mark_failed(server_failure(error))
        finally:
            aggregator.done.set()

    async def _supervise(self, aggregator: Aggregator) -> dict[str, Any]:
        """Train in a process, and return the outcome. It is `interrupted` where the run should go
        on but its checkpoint can't be used.
        """
        return await training_supervisor.train(
            aggregator.folder, self._settings.limits, aggregator.stop
        )
