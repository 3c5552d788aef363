"""One federation in the server's memory; its folder holds all that must outlive the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion_nb.core.files import storage
from fusion_nb.errors import FusionError
from fusion_nb.service.errors import (
    RefusedError,
    from_wire,
    http_spelling,
    storage_error,
    to_wire,
)
from fusion_nb.service.storage.run_folder import RunFolder

REGISTERING, QUEUED, TRAINING = "registering", "queued", "training"
FINISHED, STOPPED, FAILED, INTERRUPTED = "finished", "stopped", "failed", "interrupted"
#: States of a run that adds rounds, or will.
UNDER_WAY = (QUEUED, TRAINING)
#: Fields that a run's state keeps when it changes.
_KEPT = ("ended", "resumed_after", "note")


class RunState:
    """The state of an aggregator's run, on disk.

    path: its file;  created: when the aggregator was started, in seconds since 1970
    """

    def __init__(self, path: Path, created: float) -> None:
        self._path = path
        self._created = created
        self._stored = storage.read_json(path) or {"state": REGISTERING}

    @property
    def name(self) -> str:
        """The state's name, such as `queued`."""
        return str(self._stored["state"])

    @property
    def since(self) -> float:
        """When the run entered this state, in seconds since 1970."""
        return float(self._stored.get("since", self._created))

    @property
    def has_ended(self) -> bool:
        """Whether /stop ended the federation, so that nothing can be added to it."""
        return bool(self._stored.get("ended"))

    @property
    def reason(self) -> str:
        """Why the run ended before its last round, or ""."""
        return str(self._stored.get("reason", ""))

    @property
    def resumed_after(self) -> int:
        """The last round that the run had when it was taken up; 0 unless it was cut short."""
        return int(self._stored.get("resumed_after", 0))

    @property
    def note(self) -> str:
        """A sentence that says whether a run that was cut short goes on or begins anew, or ""."""
        return str(self._stored.get("note", ""))

    @property
    def error(self) -> FusionError | None:
        """The error that a failed run ended with."""
        if not self._stored.get("error"):
            return None
        return from_wire(self._stored).spelled(http_spelling)

    def change(self, state: str, **fields: Any) -> None:
        """Enter a state, on disk first. Fields of the last state are dropped, except `_KEPT`."""
        stored = self._with(state, fields)
        storage.write_json(self._path, stored)
        self._stored = stored

    def settle(self, state: str, **fields: Any) -> None:
        """Enter a state in which no run is under way, in memory even where the disk is full."""
        self._stored = self._with(state, fields)
        self.save()

    def end(self) -> None:
        """Record that the federation has ended, in memory even where the disk is full."""
        ended: dict[str, Any] = {"ended": True}
        if self.name == REGISTERING:
            ended |= {"state": STOPPED, "reason": "stopped before it was trained"}
        self._stored = {**self._stored, **ended}
        self.save()

    def mark_failed(self, error: FusionError) -> None:
        """Record that the run failed, in memory even where the disk is full."""
        self.settle(FAILED, **to_wire(error))

    def save(self) -> None:
        """Write the state again; a full disk keeps the one before."""
        with contextlib.suppress(OSError):
            storage.write_json(self._path, self._stored)

    def _with(self, state: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: self._stored[name] for name in _KEPT if name in self._stored}
        return {"state": state, "since": time.time(), **kept, **fields}


class Progress:
    """Reads the records of a run's rounds as they are added."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._position = 0
        self._last: dict[str, Any] = {}

    def last_record(self) -> dict[str, Any]:
        """Return the record of the last whole round; empty before the first."""
        lines, position = self._folder.rounds.records(self._position)
        if lines:
            self._position = position
            self._last = json.loads(lines[-1])
        return self._last


class Aggregator:
    """An aggregator, its parties, and the state of its run.

    lock: held while its parties or its state change;  stop: set to stop its run;  done: set while
    no run is under way;  attempt: number of its trainings in this process;  progress: its rounds
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.id = folder.path.name
        self.about = folder.about
        self.run = RunState(folder.path / "run.json", float(self.about["created"]))
        self.parties = [_public(party) for party in folder.registered()]
        self.attempt = 0
        self.lock = asyncio.Lock()
        self.stop = asyncio.Event()
        self.done = asyncio.Event()
        self.done.set()
        self.progress = Progress(folder)

    @property
    def client_id(self) -> str:
        """The client that started it."""
        return str(self.about["client_id"])

    @property
    def num_parties(self) -> int:
        """Number of parties that the aggregator is for."""
        return int(self.about["options"]["parties"])

    @property
    def remaining(self) -> int:
        """Number of parties that have not registered yet."""
        return self.num_parties - len(self.parties)

    @property
    def keeps_rows(self) -> bool:
        """Whether its parties keep their rows."""
        return any(party["keeps_rows"] for party in self.parties)

    @property
    def num_rounds(self) -> int:
        """Number of whole rounds."""
        return int(self.progress.last_record().get("round", 0))

    @property
    def formats(self) -> Sequence[str]:
        """The formats of its weights."""
        return tuple(self.about["formats"])

    def end(self) -> None:
        """Record that the federation has ended, and delete the parties' uploads.

        A full disk hinders neither: the deletion makes room for the record.
        """
        self.run.end()
        self.folder.delete_data()
        self.run.save()

    def recover(self) -> None:
        """Repair the state that a killed server left, so that the run can be trained again."""
        self.folder.repair()
        if self.run.name == TRAINING:
            reason = (
                f"the server ended while it trained; {self.num_rounds} whole rounds are kept, "
                "/train goes on after them"
            )
            outcome = storage.read_json(self.folder.path / "outcome.json")
            self.run.change(**(outcome or {"state": INTERRUPTED, "reason": reason}))
        # The disk had no room for the record of an end whose deletion has begun.
        if not self.run.has_ended and self.folder.is_deleted():
            self.run.end()
        if self.run.has_ended:
            self.folder.delete_data()

    def add_party(self, party: Mapping[str, Any]) -> None:
        """Count a party whose folder is in its place."""
        self.parties.append(_public(party))

    def queue(self) -> None:
        """Record that the run waits for its turn, and whether it goes on where it was cut short."""
        done = self.num_rounds
        is_resumed = self.folder.has_checkpoint
        note = "goes on from there" if is_resumed else "begins anew, because its checkpoint is gone"
        self.run.change(
            QUEUED,
            resumed_after=done if is_resumed else 0,
            note=f"the run was cut short after round {done}, and {note}" if done else "",
        )

    def prepare_run(self) -> None:
        """Let a run that was cut short go on; without a checkpoint, delete its results."""
        if self.folder.has_checkpoint:
            (self.folder.path / "outcome.json").unlink(missing_ok=True)
            self.attempt += 1
        else:
            self._delete_run()

    def begin_anew(self, reason: str) -> None:
        """Delete the results of a run whose checkpoint could not be used, and record why."""
        self.run.change(TRAINING, resumed_after=0, note=f"the run begins anew: {reason}")
        self._delete_run()

    def status(self, ahead: int | None = None) -> dict[str, Any]:
        """Return the answer to /status. ahead: number of runs that will train before this one."""
        summary = self.summary()
        begun = storage.read_json(self.folder.path / "begun.json")
        error = self.run.error
        status = {
            **summary,
            "has_ended": self.run.has_ended,
            "reason": self.run.reason,
            "error": error.message if error else "",
            "hint": error.hint if error else "",
            "rounds": begun.get("planned", self.about["options"].get("rounds")),
            "metrics": self.progress.last_record().get("metrics", {}),
            "resumed_after": self.run.resumed_after,
            "notes": [*filter(None, [self.run.note, self._travelled()]), *begun.get("notes", [])],
            "shown": begun.get("shown", []),
            "monitor": begun.get("monitor", ""),
            "options": self.about["options"],
            "parties": self.parties,
        }
        return status if ahead is None else {**status, "ahead": ahead}

    def _travelled(self) -> str:
        """Return a sentence about rows that were sent here, or "" before a party registers."""
        count = len(self.parties)
        if not count:
            return ""
        if self.keeps_rows:
            return "rows: none was sent to this service, since parties keep theirs"
        end = "which has deleted them" if self.run.has_ended else "which holds them now"
        whose = "1 party" if count == 1 else f"{count} parties"
        return f"rows: those of {whose} were sent to this service, {end}"

    def summary(self) -> dict[str, Any]:
        """Return the aggregator's entry in the answer to /aggregators."""
        return {
            "aggregator_id": self.id,
            "state": self.run.name,
            "model_type": self.about["model_type"],
            "num_parties": self.num_parties,
            "remaining": self.remaining,
            "round": self.num_rounds,
            "created": self.about["created"],
        }

    def _delete_run(self) -> None:
        self.folder.delete_run()
        self.progress = Progress(self.folder)
        self.attempt += 1


def server_failure(error: Exception) -> FusionError:
    """Return the error of a run that failed because of the server, without the error's text."""
    return storage_error(error) or RefusedError(
        f"the server failed ({type(error).__name__})",
        "see its log; /train goes on after the last whole round",
    )


def _public(party: Mapping[str, Any]) -> dict[str, Any]:
    """Return the public description of a party, which has no information on its rows but their
    number.
    """
    shown = {name: party.get(name) for name in ("party", "handler", "num_examples")}
    return {**shown, "keeps_rows": bool(party.get("keeps_rows"))}
