"""What the service does for its clients, whatever protocol they speak: the steps of a federation, in order."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fusion_nb.service import atomic, fields, job, uploads
from fusion_nb.service.aggregator import (
    FAILED,
    FINISHED,
    QUEUED,
    REGISTERING,
    STOPPED,
    TRAINING,
    UNDER_WAY,
    Aggregator,
)
from fusion_nb.service.asking import Inspector
from fusion_nb.service.errors import FieldError, OrderError, RefusedError, UnknownError
from fusion_nb.service.folder import Folder, aggregators, round_of

_log = logging.getLogger(__name__)
#: Seconds between two looks at the rounds of a run that is followed.
_LOOK = 0.1


@dataclass(frozen=True)
class Settings:
    """What the operator of a service decides.

    state:   the folder of all that is kept
    workers: how many aggregators train at once;  limits: what each of them may take
    max_upload, max_unpacked: bytes that a request may have, and that its archives may have once unpacked
    inspect_seconds: how long reading an upload may take
    allow_custom_code: whether clients may send data handlers, which run in the training process
    """

    state: Path
    workers: int = 1
    limits: job.Limits = field(default_factory=job.Limits)
    max_upload: int = 1 << 30
    max_unpacked: int = 4 << 30
    inspect_seconds: float = 120
    allow_custom_code: bool = False


class Service:
    """Aggregators, their parties and their runs. Every method leaves on the disk what it answers.

    Raises the errors of `service.errors`, each of which stands for a status of HTTP.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inspector = Inspector(settings.inspect_seconds, settings.limits.memory)
        self._home = settings.state / "aggregators"
        self._known: dict[str, Aggregator] = {}
        self._queue: list[Aggregator] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take up what an earlier server left; runs that were queued are queued again."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        atomic.sweep(self._home)
        for folder in aggregators(self.settings.state):
            try:
                found = Aggregator(folder)
                found.recover()
            except (OSError, ValueError, KeyError):  # a folder that was damaged must not keep the others away
                _log.exception("an aggregator's folder can't be read", extra={"aggregator": folder.path.name[:6]})
            else:
                self._known[found.id] = found
        for waiting in sorted((a for a in self._known.values() if a.state == QUEUED), key=lambda a: a.since):
            waiting.forget_run()  # the server may have been killed before it did
            self._launch(waiting)

    async def close(self) -> None:
        """End all processes. Runs under way are found as interrupted by the next server, as after a crash."""
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.inspector.close()

    # The steps of a federation

    async def start_aggregator(
        self, client_id: str, given: Mapping[str, str], files: Mapping[str, BinaryIO]
    ) -> Aggregator:
        """Register an aggregator with its model, from the fields and file parts of a request."""
        model_type, options = fields.to_options(given)
        if "model_file" not in files:
            raise FieldError("model_file", "model_file is missing", "send the model as a file part of that name")
        name = secrets.token_urlsafe(16)
        with atomic.draft(self._home) as made:
            (made / "parties").mkdir()
            await self._keep(files["model_file"], made / fields.MODELS[model_type], "model_file")
            if "test" in files:
                await self._keep(files["test"], made / "test.npz", "test")
            about = {"client_id": client_id, "model_type": model_type, "options": options, "created": time.time()}
            atomic.write_json(made / "aggregator.json", about)
            await self.inspector.ask("model", path=str(made))
            await asyncio.to_thread(atomic.place, made, self._home / name)
        self._known[name] = Aggregator(Folder(self._home / name))
        return self._known[name]

    async def start_party(
        self, client_id: str, given: Mapping[str, str], files: Mapping[str, BinaryIO]
    ) -> tuple[Aggregator, str, int]:
        """Register a party with its data; return its aggregator, its name, and how many are still to register."""
        given = dict(given)
        aggregator = self.find(given.pop("aggregator_id", ""))
        name, handler = given.pop("party", ""), given.pop("data_handler_class_name", "")
        for other in given:
            line = f"there is no field {other!r}"
            raise FieldError(other, line, "there are: aggregator_id, data_handler_class_name, party")
        is_custom = "custom_data_handler" in files
        if is_custom and not self.settings.allow_custom_code:
            hint = "use a built-in data handler, or ask the operator to start the server with --allow-custom-code"
            raise RefusedError("custom_data_handler is code, and this server takes none", hint)
        handler = fields.to_handler(handler, is_custom)
        if "data" not in files:
            raise FieldError("data", "data is missing", "send the party's rows as a file part of that name")
        async with aggregator.lock:
            self._check_open(aggregator)
            name = fields.to_party(name, [party["party"] for party in aggregator.parties])
            about = {"party": name, "handler": handler, "client_id": client_id, "created": time.time()}
            with atomic.draft(self._home) as made:
                await self._add(aggregator, made, about, files)
            return aggregator, name, aggregator.remaining

    async def _add(
        self, aggregator: Aggregator, made: Path, about: dict[str, Any], files: Mapping[str, BinaryIO]
    ) -> None:
        """Fill the draft of a party's folder, check it, and put it in its place."""
        sent = made / "data"
        await self._keep(files["data"], sent, "data")
        stored = sent.with_suffix(uploads.suffix_of(sent))
        sent.rename(stored)
        about["file"] = stored.name
        if "custom_data_handler" in files:
            await self._keep(files["custom_data_handler"], made / "handler.py", "custom_data_handler")
            uploads.check_module(made / "handler.py", about["handler"])
            atomic.write_json(made / "party.json", about)
        else:
            atomic.write_json(made / "party.json", about)
            about |= await self.inspector.ask("party", path=str(aggregator.folder.path), party=str(made))
            atomic.write_json(made / "party.json", about)
        target = aggregator.folder.parties / f"{len(aggregator.parties) + 1:04}"
        await asyncio.to_thread(atomic.place, made, target)
        aggregator.add(about)

    async def train(self, aggregator_id: str) -> Aggregator:
        """Begin to train, or queue it. Raises OrderError unless all parties are there and it isn't trained yet."""
        aggregator = self.find(aggregator_id)
        async with aggregator.lock:
            if aggregator.has_ended:
                raise OrderError("the federation has ended", "POST /start-aggregator begins another")
            if aggregator.state in UNDER_WAY:
                raise OrderError(f"it is {aggregator.state} already", "GET /rounds/{aggregator_id} follows it")
            if aggregator.state == FINISHED:
                raise OrderError("it is trained already", "GET /weights/{aggregator_id} has what came of it")
            if aggregator.remaining:
                line = f"{aggregator.remaining} of {aggregator.num_parties} parties are still to register"
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

    # Questions

    def find(self, aggregator_id: str) -> Aggregator:
        """Return an aggregator. Raises FieldError for no id, and UnknownError for one that is not there."""
        if not aggregator_id:
            raise FieldError("aggregator_id", "aggregator_id is missing", "POST /start-aggregator answers with one")
        if aggregator_id not in self._known:
            raise UnknownError("there is no such aggregator", "GET /aggregators lists yours")
        return self._known[aggregator_id]

    def of(self, client_id: str) -> list[Aggregator]:
        """Return the aggregators that a client started, the oldest first."""
        return sorted((a for a in self._known.values() if a.client_id == client_id), key=lambda a: a.created)

    def status(self, aggregator_id: str) -> dict[str, Any]:
        """Return where an aggregator and its run stand."""
        found = self.find(aggregator_id)
        return found.status(self._queue.index(found) if found in self._queue else 0)

    async def rounds(self, aggregator: Aggregator, after: int = 0) -> AsyncIterator[str]:
        """Yield the records of whole rounds, as lines of JSON: those there are, and others as they come."""
        place = 0
        while True:
            is_over = aggregator.done.is_set()  # asked first: what is written before the end is read after it
            lines, place = await asyncio.to_thread(aggregator.folder.lines, place)
            for line in lines:
                if round_of(line) > after:
                    yield line + "\n"
            if is_over:
                return
            await asyncio.sleep(_LOOK)

    async def model(self, aggregator: Aggregator, format: str, which: str) -> tuple[bytes, int]:
        """Return a model with the weights of the last or the best whole round as a file's content, and that round.

        format: one of the formats of the model's own framework
        Raises UnknownError before the first whole round.
        """
        folder = aggregator.folder.path
        _, number = aggregator.folder.weights(which)
        kept = folder / f"model-{which}-{number}.{format}"
        with suppress(FileNotFoundError):  # it was not asked for yet, or makes room for a newer one just now
            return await asyncio.to_thread(kept.read_bytes), number
        # Not in the aggregator's folder, where what a training leaves half done is swept when it ends.
        with atomic.draft(self._home) as made:
            asked = {"which": which, "format": format, "target": str(made / f"model.{format}")}
            number = (await self.inspector.ask("convert", path=str(folder), **asked))["round"]
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
            raise OrderError(line, "POST /train trains them" if aggregator.state == REGISTERING else "it is under way")

    async def _keep(self, sent: BinaryIO, target: Path, what: str) -> None:
        """Copy what was sent to a file of our own, and measure it. Raises TooLargeError or RefusedError."""
        await asyncio.to_thread(uploads.keep, sent, target)
        await asyncio.to_thread(uploads.check_unpacked, target, what, self.settings.max_unpacked)

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
            outcome = await job.train(aggregator.folder, self.settings.limits, aggregator.stop)
            await asyncio.to_thread(aggregator.folder.mend)
            aggregator.set(**outcome)
            _log.info("training ended", extra={"aggregator": aggregator.id[:6], "state": outcome["state"]})
        except Exception as error:
            # Ours, such as a full disk: what is known of the run stays, and the others go on.
            _log.exception("training was lost", extra={"aggregator": aggregator.id[:6]})
            line = f"the server failed ({type(error).__name__})"
            aggregator.set(FAILED, error=line, hint="its log says more; /train begins anew")
        finally:
            aggregator.done.set()
