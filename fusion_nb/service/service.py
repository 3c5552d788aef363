"""What the service does for its clients, whatever protocol they speak: the steps of a federation,
in order.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from fusion_nb.service import registration, request_fields
from fusion_nb.service.aggregator import (
    FINISHED,
    QUEUED,
    REGISTERING,
    STOPPED,
    TRAINING,
    UNDER_WAY,
    Aggregator,
)
from fusion_nb.service.error_log import log_fault
from fusion_nb.service.errors import EndingError, FieldError, OrderError, RefusedError, UnknownError
from fusion_nb.service.processes import training_supervisor
from fusion_nb.service.processes.inspection_pool import Inspectors
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage import atomic, uploads
from fusion_nb.service.storage.run_folder import Folder, aggregators, remove, round_of

_log = logging.getLogger(__name__)
#: Processes that look at uploads.
_INSPECTORS = 2
#: Seconds between two looks at the rounds of a run that is followed.
_LOOK = 0.1


class Service:
    """Aggregators, their parties and their runs. Every method leaves on the disk what it answers.

    Raises the errors of `service.errors`, each of which stands for a status of HTTP.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inspectors = Inspectors(_INSPECTORS, settings.inspect_seconds, settings.limits.memory)
        self._home = settings.state / "aggregators"
        self._known: dict[str, Aggregator] = {}
        self._queue: list[Aggregator] = []
        self._tasks: set[asyncio.Task[None]] = set()
        #: Set when the server is about to end: whoever waits is told so.
        self.closing = asyncio.Event()

    async def open(self) -> None:
        """Take up what an earlier server left; runs that were queued are queued again."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        atomic.sweep(self._home)
        for folder in aggregators(self.settings.state):
            try:
                found = Aggregator(folder)
                found.recover()
            except (
                OSError,
                ValueError,
                KeyError,
            ) as error:  # a damaged folder must not keep the others away
                log_fault(
                    _log,
                    "an aggregator's folder can't be read",
                    error,
                    aggregator=folder.path.name[:6],
                )
            else:
                self._known[found.id] = found
        for waiting in sorted(
            (a for a in self._known.values() if a.state == QUEUED), key=lambda a: a.since
        ):
            waiting.forget_run()  # the server may have been killed before it did
            self._launch(waiting)

    async def close(self) -> None:
        """End all processes. Runs under way are found as interrupted by the next server, as after a
        crash.
        """
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.inspectors.close()

    # The steps of a federation

    async def start_aggregator(
        self, client_id: str, given: Mapping[str, str], files: Mapping[str, BinaryIO]
    ) -> Aggregator:
        """Register an aggregator with its model, from the fields and file parts of a request."""
        model_type, options = request_fields.to_options(given)
        if "model_file" not in files:
            raise FieldError(
                "model_file", "model_file is missing", "send the model as a file part of that name"
            )
        name = secrets.token_urlsafe(16)
        with atomic.draft(self._home) as made:
            (made / "parties").mkdir()
            await asyncio.to_thread(
                uploads.keep, files["model_file"], made / request_fields.MODELS[model_type]
            )
            if "test" in files:
                await asyncio.to_thread(uploads.keep, files["test"], made / "test.npz")
            about = {
                "client_id": client_id,
                "model_type": model_type,
                "options": options,
                "created": time.time(),
            }
            atomic.write_json(made / "aggregator.json", about)
            await self.inspectors.ask("model", path=str(made), limit=self.settings.max_unpacked)
            await asyncio.to_thread(atomic.place, made, self._home / name)
        self._known[name] = Aggregator(Folder(self._home / name))
        return self._known[name]

    async def start_party(
        self, client_id: str, given: Mapping[str, str], files: Mapping[str, BinaryIO]
    ) -> tuple[Aggregator, str, int]:
        """Register a party with its data; return its aggregator, its name, and how many are still
        to register.
        """
        given = dict(given)
        aggregator = self.find(given.pop("aggregator_id", ""))
        name, handler = given.pop("party", ""), given.pop("data_handler_class_name", "")
        for other in given:
            line = f"there is no field {other!r}"
            raise FieldError(
                other, line, "there are: aggregator_id, data_handler_class_name, party"
            )
        is_custom = "custom_data_handler" in files
        if is_custom and not self.settings.allow_custom_code:
            hint = (
                "use a built-in data handler, or ask the operator to start the server with "
                "--allow-custom-code"
            )
            raise RefusedError("custom_data_handler is code, and this server takes none", hint)
        handler = request_fields.to_handler(handler, is_custom)
        if "data" not in files:
            raise FieldError(
                "data", "data is missing", "send the party's rows as a file part of that name"
            )
        self._check_open(aggregator)
        with atomic.draft(self._home) as made:
            about: dict[str, Any] = {
                "party": name or "the party",
                "handler": handler,
                "client_id": client_id,
            }
            about["created"] = time.time()
            about |= await registration.look(
                aggregator, made, about, files, self.inspectors, self.settings.max_unpacked
            )
            # Not before: what takes time must not hold up other parties, nor /stop.
            async with aggregator.lock:
                self._check_open(aggregator)
                about["party"] = request_fields.to_party(
                    name, [party["party"] for party in aggregator.parties]
                )
                registration.check_form(about, aggregator)
                atomic.write_json(made / "party.json", about)
                target = aggregator.folder.parties / f"{len(aggregator.parties) + 1:04}"
                await asyncio.to_thread(atomic.place, made, target)
                aggregator.add(about)
                return aggregator, about["party"], aggregator.remaining

    async def train(self, aggregator_id: str) -> Aggregator:
        """Begin to train, or queue it. Raises OrderError unless all parties are there and it isn't
        trained yet.
        """
        aggregator = self.find(aggregator_id)
        async with aggregator.lock:
            if aggregator.has_ended:
                raise OrderError(
                    "the federation has ended", "POST /start-aggregator begins another"
                )
            if aggregator.state in UNDER_WAY:
                raise OrderError(
                    f"it is {aggregator.state} already", "GET /rounds/{aggregator_id} follows it"
                )
            if aggregator.state == FINISHED:
                raise OrderError(
                    "it is trained already", "GET /weights/{aggregator_id} has what came of it"
                )
            if aggregator.remaining:
                line = (
                    f"{aggregator.remaining} of {aggregator.num_parties} parties are still to "
                    "register"
                )
                raise OrderError(line, "POST /start-party registers one")
            aggregator.set(QUEUED)
            await asyncio.to_thread(aggregator.forget_run)
            self._launch(aggregator)
        return aggregator

    async def stop(self, aggregator_id: str) -> Aggregator:
        """Stop a run at its last whole round, end the federation, and delete the parties' data."""
        aggregator = self.find(aggregator_id)
        async with aggregator.lock:
            if aggregator in self._queue:
                self._queue.remove(aggregator)
                aggregator.set(STOPPED, reason="stopped before its turn came")
                aggregator.done.set()
            aggregator.stop.set()
            await aggregator.done.wait()
            await asyncio.to_thread(aggregator.end)
        return aggregator

    async def remove(self, client_id: str, aggregator_id: str) -> None:
        """Remove all that is kept of an aggregator of that client's which has ended."""
        aggregator = self.find(aggregator_id)
        if aggregator.client_id != client_id:
            raise OrderError("another client started it", "GET /aggregators lists yours")
        async with aggregator.lock:
            if not aggregator.has_ended:
                raise OrderError("it has not ended", "POST /stop ends it")
            self._known.pop(aggregator_id, None)
            await asyncio.to_thread(remove, aggregator.folder)

    async def ended(self, aggregator: Aggregator) -> None:
        """Wait until no run is under way. Raises EndingError where the server ends before that."""
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

    # Questions

    def find(self, aggregator_id: str) -> Aggregator:
        """Return an aggregator. Raises FieldError for no id, and UnknownError for one that is not
        there.
        """
        if not aggregator_id:
            raise FieldError(
                "aggregator_id",
                "aggregator_id is missing",
                "POST /start-aggregator answers with one",
            )
        if aggregator_id not in self._known:
            raise UnknownError("there is no such aggregator", "GET /aggregators lists yours")
        return self._known[aggregator_id]

    def of(self, client_id: str) -> list[Aggregator]:
        """Return the aggregators that a client started, the oldest first."""
        return sorted(
            (a for a in self._known.values() if a.client_id == client_id), key=lambda a: a.created
        )

    def status(self, aggregator_id: str) -> dict[str, Any]:
        """Return where an aggregator and its run stand."""
        found = self.find(aggregator_id)
        return found.status(self._queue.index(found) if found in self._queue else 0)

    async def rounds(self, aggregator: Aggregator, after: int = 0) -> AsyncIterator[str]:
        """Yield the records of whole rounds, as lines of JSON: those there are, and others as they
        come.
        """
        place, attempt = 0, aggregator.attempt
        while True:
            # Asked first: what is written before the end is read after it.
            is_over = aggregator.done.is_set() or self.closing.is_set()
            lines, place = await asyncio.to_thread(aggregator.folder.lines, place)
            if (
                aggregator.attempt != attempt
            ):  # it is trained anew, and what was read may be of that
                return
            for line in lines:
                if round_of(line) > after:
                    yield line + "\n"
            if is_over:
                return
            await asyncio.sleep(_LOOK)

    async def model(self, aggregator: Aggregator, format: str, which: str) -> tuple[bytes, int]:
        """Return a model with the weights of the last or the best whole round as a file's content,
        and that round.

        format: one of the formats of the model's own framework
        Raises UnknownError before the first whole round.
        """
        folder = aggregator.folder.path
        _, number = aggregator.folder.weights(which)
        kept = folder / f"model-{which}-{number}.{format}"
        with suppress(
            FileNotFoundError
        ):  # it was not asked for yet, or makes room for a newer one just now
            return await asyncio.to_thread(kept.read_bytes), number
        # Not in the aggregator's folder, where what a training leaves half done is swept when it
        # ends.
        with atomic.draft(self._home) as made:
            asked = {"which": which, "format": format, "target": str(made / f"model.{format}")}
            number = (await self.inspectors.ask("convert", path=str(folder), **asked))["round"]
            content = await asyncio.to_thread((made / f"model.{format}").read_bytes)
            kept = folder / f"model-{which}-{number}.{format}"
            (made / f"model.{format}").rename(kept)
        for older in folder.glob(f"model-{which}-*.{format}"):
            if older != kept:
                older.unlink(missing_ok=True)
        return content, number

    # Training

    def _check_open(self, aggregator: Aggregator) -> None:
        """Raise OrderError where no party can register any more."""
        if aggregator.has_ended:
            raise OrderError("the federation has ended", "POST /start-aggregator begins another")
        if not aggregator.remaining:
            line = f"all {aggregator.num_parties} parties are there already"
            raise OrderError(
                line,
                "POST /train trains them" if aggregator.state == REGISTERING else "it is under way",
            )

    def _launch(self, aggregator: Aggregator) -> None:
        aggregator.stop.clear()
        aggregator.done.clear()
        self._queue.append(aggregator)
        self._fill()

    def _fill(self, ended: asyncio.Task[None] | None = None) -> None:
        """Train the next ones in the queue while there is room."""
        if ended is not None:
            self._tasks.discard(ended)
        while self._queue and len(self._tasks) < self.settings.workers:
            task = asyncio.get_running_loop().create_task(self._train(self._queue.pop(0)))
            self._tasks.add(task)
            task.add_done_callback(self._fill)

    async def _train(self, aggregator: Aggregator) -> None:
        try:
            aggregator.set(TRAINING)
            _log.info("training begins", extra={"aggregator": aggregator.id[:6]})
            outcome = await training_supervisor.train(
                aggregator.folder, self.settings.limits, aggregator.stop
            )
            await asyncio.to_thread(aggregator.folder.mend)
            aggregator.set(**outcome)
            _log.info(
                "training ended", extra={"aggregator": aggregator.id[:6], "state": outcome["state"]}
            )
        except Exception as error:
            # Ours, such as a full disk: what is known of the run stays, and the others go on.
            log_fault(_log, "training was lost", error, aggregator=aggregator.id[:6])
            aggregator.lose(f"the server failed ({type(error).__name__})")
        finally:
            aggregator.done.set()
