"""One federation as the server knows it; all that must outlive the server is in its folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

from fusion_nb.service.storage import atomic
from fusion_nb.service.storage.run_folder import Folder

REGISTERING, QUEUED, TRAINING = "registering", "queued", "training"
FINISHED, STOPPED, FAILED, INTERRUPTED = "finished", "stopped", "failed", "interrupted"
#: States of a run that adds rounds, or is going to.
UNDER_WAY = (QUEUED, TRAINING)


class Aggregator:
    """An aggregator, its parties, and where its run stands.

    lock: held while its parties or its state change;  stop: set to end its run;  done: set while no
    run is under way
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.id = folder.path.name
        about = folder.about
        self.client_id: str = about["client_id"]
        self.model_type: str = about["model_type"]
        self.options: dict[str, Any] = about["options"]
        self.created: float = about["created"]
        self.parties = [_public(party) for party in folder.registered()]
        self._run = atomic.read_json(folder.path / "run.json") or {"state": REGISTERING}
        self._place = 0
        self._last: dict[str, Any] = {}
        #: Which training of this server's it is, for whoever follows one.
        self.attempt = 0
        self.lock = asyncio.Lock()
        self.stop, self.done = asyncio.Event(), asyncio.Event()
        self.done.set()

    @property
    def state(self) -> str:
        """Where its run stands."""
        return str(self._run["state"])

    @property
    def since(self) -> float:
        """When its state became what it is, in seconds since 1970."""
        return float(self._run.get("since", self.created))

    @property
    def has_ended(self) -> bool:
        """Whether /stop ended the federation, so that nothing can be added any more."""
        return bool(self._run.get("ended"))

    @property
    def num_parties(self) -> int:
        """How many parties it is for."""
        return int(self.options["parties"])

    @property
    def remaining(self) -> int:
        """How many of them are still to register."""
        return self.num_parties - len(self.parties)

    @property
    def error(self) -> tuple[str, str]:
        """What a failed run failed of, and what to do."""
        return self._run.get("error", ""), self._run.get("hint", "")

    def set(self, state: str, **more: Any) -> None:
        """Change its state, on the disk first. What is known of an earlier run is forgotten, but
        not that it ended.
        """
        ended = {"ended": True} if self.has_ended else {}
        run = {"state": state, "since": time.time(), **ended, **more}
        atomic.write_json(self.folder.path / "run.json", run)
        self._run = run

    def end(self) -> None:
        """Keep that the federation has ended, and delete what parties sent."""
        run = {**self._run, "ended": True}
        if self.state == REGISTERING:
            run |= {"state": STOPPED, "reason": "stopped before it was trained"}
        atomic.write_json(self.folder.path / "run.json", run)
        self._run = run
        self.folder.delete_data()

    def recover(self) -> None:
        """Bring what a killed server left to where it can go on from."""
        self.folder.mend()
        if self.state == TRAINING:
            outcome = atomic.read_json(self.folder.path / "outcome.json")
            reason = (
                f"the server ended while it trained; {self.num_rounds} whole rounds are "
                "kept, /train begins anew"
            )
            self.set(**(outcome or {"state": INTERRUPTED, "reason": reason}))
        if self.has_ended:
            self.folder.delete_data()

    def add(self, party: Mapping[str, Any]) -> None:
        """Count a party whose folder is in its place."""
        self.parties.append(_public(party))

    def forget_run(self) -> None:
        """Remove what an earlier run left."""
        self.folder.forget_run()
        self._place, self._last = 0, {}
        self.attempt += 1

    def lose(self, error: str) -> None:
        """Say that the run failed for a fault of the server's, though it may be one that keeps it
        from writing that.
        """
        run = {
            "state": FAILED,
            "error": error,
            "hint": "its log says more; /train begins anew",
            "since": time.time(),
        }
        self._run = run | ({"ended": True} if self.has_ended else {})
        with contextlib.suppress(OSError):
            atomic.write_json(self.folder.path / "run.json", self._run)

    @property
    def num_rounds(self) -> int:
        """How many whole rounds there are."""
        self._look()
        return int(self._last.get("round", 0))

    def _look(self) -> None:
        """Read the records that were added since the last look."""
        lines, place = self.folder.lines(self._place)
        if lines:
            self._place, self._last = place, json.loads(lines[-1])

    def status(self, ahead: int = 0) -> dict[str, Any]:
        """Return what /status answers. ahead: runs that are to be trained before this one."""
        self._look()
        begun = atomic.read_json(self.folder.path / "begun.json")
        found = {
            **self.brief(),
            "has_ended": self.has_ended,
            "reason": self._run.get("reason", ""),
            "error": self.error[0],
            "hint": self.error[1],
            "rounds": begun.get("planned", self.options.get("rounds")),
            "metrics": self._last.get("metrics", {}),
            "notes": begun.get("notes", []),
            "shown": begun.get("shown", []),
            "monitor": begun.get("monitor", ""),
            "options": self.options,
            "parties": self.parties,
        }
        return found | ({"ahead": ahead} if self.state == QUEUED else {})

    def brief(self) -> dict[str, Any]:
        """Return what the list of aggregators says of it."""
        return {
            "aggregator_id": self.id,
            "state": self.state,
            "model_type": self.model_type,
            "num_parties": self.num_parties,
            "remaining": self.remaining,
            "round": self.num_rounds,
            "created": self.created,
        }


def _public(party: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a party, which is nothing of its rows but their number."""
    return {name: party.get(name) for name in ("party", "handler", "num_examples")}
