"""The service without its protocol: the steps of a federation, in their order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fusion_nb.core.files import storage
from fusion_nb.core.process.machine import num_cores
from fusion_nb.service import request_fields
from fusion_nb.service.aggregator import FINISHED, QUEUED, UNDER_WAY, Aggregator
from fusion_nb.service.error_log import log_failure
from fusion_nb.service.errors import EndingError, FieldError, OrderError, UnknownError
from fusion_nb.service.keeping import Keeping
from fusion_nb.service.messages import Messages
from fusion_nb.service.model_files import ModelFiles
from fusion_nb.service.processes.inspection_pool import InspectionPool, Inspections
from fusion_nb.service.registration import Fields, Files, Registration
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage.round_files import Which, round_of
from fusion_nb.service.storage.run_folder import run_folders
from fusion_nb.service.training_queue import TrainingQueue

_log = logging.getLogger(__name__)
#: Folder of all aggregators.
_HOME = "aggregators"
#: Number of uploads that are inspected at a time, before they count as slow. Each takes 0.4 GB, and
#: a machine of one core, such as Binder's, has little.
_NUM_INSPECTORS = min(2, num_cores())
#: The same of models that are written in other formats.
_NUM_CONVERTERS = 1
#: Seconds between two reads of a run's records while a client follows it.
_POLL_SECONDS = 0.1


class Service:
    """Aggregators, their parties and their runs. A method returns once its result is on disk.

    closing: set when the server is about to end, so that waiting clients are answered
    messages: carries those of runs and of parties that keep their rows
    Methods raise the errors of `service.errors`, each of which has an HTTP status.
    """

    def __init__(self, settings: Settings) -> None:
        self.closing = asyncio.Event()
        self._state = settings.state
        self._home = settings.state / _HOME
        self._inspectors = Inspections(
            _NUM_INSPECTORS, settings.inspect_seconds, settings.limits.memory
        )
        # Of their own, so that no upload delays those who fetch a model, nor the other way round.
        self._converters = InspectionPool(
            _NUM_CONVERTERS, settings.inspect_seconds, settings.limits.memory
        )
        self._registration = Registration(self._home, self._inspectors, settings)
        self._keeping = Keeping(self._home, self._inspectors, settings)
        self.messages = Messages(self._home, self.closing)
        self._model_files = ModelFiles(self._home, self._converters)
        self._queue = TrainingQueue(settings)
        self._known: dict[str, Aggregator] = {}

    @staticmethod
    def prepare(state: Path) -> None:
        """Make the folder of all aggregators, and remove what a killed server left half-written.

        Raises OSError.
        """
        home = state / _HOME
        home.mkdir(mode=0o700, exist_ok=True)
        storage.remove_drafts(state)

    async def open(self) -> None:
        """Load the state of an earlier server, and queue its waiting runs again."""
        for folder in run_folders(self._state):
            try:
                found = Aggregator(folder)
                found.recover()
            except Exception as error:
                # One damaged folder must not keep the others from loading.
                shown = folder.path.name[:6]
                log_failure(_log, "an aggregator's folder is damaged", error, aggregator=shown)
            else:
                self._known[found.id] = found
        waiting = [found for found in self._known.values() if found.run.name == QUEUED]
        for aggregator in sorted(waiting, key=lambda found: found.run.since):
            aggregator.prepare_run()  # the server may have been killed before it did
            self._queue.add(aggregator)

    async def close(self) -> None:
        """End all child processes. The next server finds runs under way interrupted."""
        await self._queue.close()
        await self._inspectors.close()
        await self._converters.close()

    async def start_aggregator(self, client_id: str, fields: Fields, files: Files) -> Aggregator:
        """Register an aggregator with its model, from the fields and files of a request."""
        made = await self._registration.new_aggregator(client_id, fields, files)
        self._known[made.id] = made
        return made

    async def start_party(
        self, client_id: str, fields: Fields, files: Files
    ) -> tuple[Aggregator, str, str]:
        """Register a party with its data, or by the facts about rows that it keeps.

        Returns its aggregator, its name, and the node that it is then, or "" with its data.
        """
        aggregator = self.find(fields.get("aggregator_id", ""))
        others = {name: text for name, text in fields.items() if name != "aggregator_id"}
        if request_fields.is_true(others.pop("keeps_rows", ""), "keeps_rows"):
            name, node = await self._keeping.register(aggregator, client_id, others, files)
            return aggregator, name, node
        for field in ("token", "facts"):
            if field in others or field in files:
                line = f"{field} is for a party that keeps its rows"
                raise FieldError(field, line, "add keeps_rows=true, or leave it out")
        name = await self._registration.new_party(aggregator, client_id, others, files)
        return aggregator, name, ""

    async def train(self, aggregator_id: str) -> Aggregator:
        """Start a run, or queue it. One that was cut short goes on after its last whole round.

        Raises OrderError unless all parties have registered and the run is yet to be trained.
        """
        aggregator = self.find(aggregator_id)
        async with aggregator.lock:
            _check_trainable(aggregator)
            aggregator.queue()
            await asyncio.to_thread(aggregator.prepare_run)
            self._queue.add(aggregator)
        return aggregator

    async def stop(self, aggregator_id: str) -> Aggregator:
        """Stop a run at its last whole round, end the federation, and delete the parties' data."""
        aggregator = self.find(aggregator_id)
        async with aggregator.lock:
            await self._queue.stop(aggregator)
            await asyncio.to_thread(aggregator.end)
        return aggregator

    async def remove(self, client_id: str, aggregator_id: str) -> None:
        """Delete an aggregator that has ended. Raises OrderError for another client's."""
        aggregator = self.find(aggregator_id)
        if aggregator.client_id != client_id:
            raise OrderError("another client started it", "GET /aggregators lists yours")
        async with aggregator.lock:
            if not aggregator.run.has_ended:
                raise OrderError("it has not ended", "POST /stop ends it")
            self._known.pop(aggregator_id, None)
            await asyncio.to_thread(aggregator.folder.remove)

    async def wait(self, aggregator: Aggregator) -> None:
        """Wait for the end of a run. Raises EndingError if the server ends before that."""
        waits = {asyncio.ensure_future(event.wait()) for event in (aggregator.done, self.closing)}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not aggregator.done.is_set():
            raise EndingError(
                "the server ends, and interrupts the run", "its last whole round is kept"
            )

    def find(self, aggregator_id: str) -> Aggregator:
        """Return an aggregator. Raises FieldError for no id, and UnknownError for a wrong one."""
        if not aggregator_id:
            field = "aggregator_id"
            raise FieldError(
                field, f"{field} is missing", "POST /start-aggregator answers with one"
            )
        if aggregator_id not in self._known:
            raise UnknownError("there is no such aggregator", "GET /aggregators lists yours")
        return self._known[aggregator_id]

    def aggregators_of(self, client_id: str) -> list[Aggregator]:
        """Return the aggregators that a client started, the oldest first."""
        own = [found for found in self._known.values() if found.client_id == client_id]
        return sorted(own, key=lambda found: float(found.about["created"]))

    def status(self, aggregator_id: str) -> dict[str, Any]:
        """Return the state of an aggregator and its run."""
        found = self.find(aggregator_id)
        return found.status(self._queue.position(found))

    async def rounds(self, aggregator: Aggregator, after: int = 0) -> AsyncIterator[str]:
        """Yield the records of whole rounds as lines of JSON, until the run has ended.

        after: records up to this round are left out
        """
        position = 0
        attempt = aggregator.attempt
        while True:
            # Checked before the records are read, so that none that precedes the end is missed.
            is_over = aggregator.done.is_set() or self.closing.is_set()
            lines, position = await asyncio.to_thread(aggregator.folder.rounds.records, position)
            if aggregator.attempt != attempt:
                return  # it is being trained anew, and the lines may be of the new training
            for line in lines:
                if round_of(line) > after:
                    yield line + "\n"
            if is_over:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def model(
        self, client_id: str, aggregator: Aggregator, format: str, which: Which
    ) -> tuple[bytes, int]:
        """Return the model of the last or best whole round as a file's content, and that round.

        client_id: the client that asks
        format: one of the formats of the model's framework, or json
        Raises UnknownError before the first whole round.
        """
        return await self._model_files.read(client_id, aggregator, format, which)


def _check_trainable(aggregator: Aggregator) -> None:
    state = aggregator.run.name
    if aggregator.run.has_ended:
        raise OrderError("the federation has ended", "POST /start-aggregator begins another")
    if state in UNDER_WAY:
        raise OrderError(f"it is {state} already", "GET /rounds/{aggregator_id} follows it")
    if state == FINISHED:
        raise OrderError(
            "it is trained already", "GET /weights/{aggregator_id} has the fused weights"
        )
    if aggregator.remaining:
        raise OrderError(
            f"{aggregator.remaining} of {aggregator.num_parties} parties have not registered yet",
            "POST /start-party registers one",
        )
