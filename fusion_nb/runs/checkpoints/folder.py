"""The folder of a run's checkpoints: one folder in it for each round, whole or absent."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fusion_nb.core.files.ordinary import read_json_file
from fusion_nb.core.files.storage import DRAFT, remove_drafts
from fusion_nb.errors import RunError
from fusion_nb.runs.checkpoints import owners
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.files import CheckpointFiles

_LOCK = ".lock"
_PREFIX = "round-"
#: Seconds after which a lock that says nothing was left by a process that was killed.
_EMPTY_LOCK = 5.0
#: The locks that runs of this process hold.
_held: set[Path] = set()


class CheckpointFolder:
    """A folder of checkpoints, which one run at a time may write to."""

    def __init__(self, path: str | Path) -> None:
        self.path = _expanded(Path(path)).absolute()
        self._is_locked = False
        self._is_fresh = False
        #: Ids of the runs whose rounds the first checkpoint of a fresh run replaces.
        self._replaces: frozenset[str] = frozenset()
        self._files = CheckpointFiles()

    def rounds(self) -> list[Path]:
        """Return the folders of the rounds in it, the latest last."""
        try:
            found = [path for path in self.path.glob(f"{_PREFIX}*") if path.is_dir()]
        except (OSError, ValueError):  # of a name that no file system takes, too
            return []
        return sorted(path for path in found if path.name.removeprefix(_PREFIX).isdecimal())

    def rounds_left(self) -> list[Path]:
        """Return `rounds` without those of a run that a later one replaced."""
        found = self.rounds()
        gone = owners.replaced(owners.owned(found))
        return [path for path in found if path not in gone]

    def check_one_run(self) -> list[Path]:
        """Return `rounds_left`. Raises RunError where they are of several runs."""
        left = self.rounds_left()
        owners.check_one_run(self.path, owners.owned(left))
        return left

    def latest(self) -> Checkpoint:
        """Return the latest checkpoint that can be read.

        Raises RunError without any, or where the folder holds rounds of several runs.
        """
        error = RunError(
            f"there is no checkpoint in {self.path}", "%fusion runs lists those that are known"
        )
        for path in reversed(self.check_one_run()):
            try:
                return _read(path)
            except RunError as found:
                error = found
        raise error

    def check(self) -> None:
        """Raise RunError where a run could not write to it, or would have to wait."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=DRAFT, dir=self.path):
                pass
        except OSError as error:
            raise _cannot("there can be no checkpoint", self.path, error) from None
        except ValueError as error:  # of a NUL character
            raise _cannot("there can be no checkpoint", self.path, OSError(str(error))) from None
        if holder := self._holder():
            raise self._in_use(holder)

    def acquire(self, *, fresh: bool) -> None:
        """Keep all other runs from writing to it, until `release`.

        fresh: the first checkpoint replaces those of an earlier run
        Raises RunError where another run does that, OSError where the folder can't be written to.
        """
        self._is_fresh = fresh
        self._lock()
        remove_drafts(self.path)
        known = owners.owned(self.rounds())
        self._replaces = frozenset(each.run_id for each in known) if fresh else frozenset()
        for path in owners.replaced(known):  # that run was killed before it removed them
            self._remove(path)

    def release(self) -> None:
        """Let other runs write to it."""
        if self._is_locked:
            _held.discard(self.path)
            self._is_locked = False
            with suppress(OSError):
                (self.path / _LOCK).unlink()

    def write(self, checkpoint: Checkpoint, keep: int) -> Path:
        """Write a checkpoint, and remove all but the last `keep`; return its folder.

        A folder that was removed meanwhile is made anew. Raises OSError or RunError; earlier
        checkpoints stay then.
        """
        if not (self.path / _LOCK).exists():
            self._is_locked = False
            _held.discard(self.path)
            self._lock()
        target = self.path / f"{_PREFIX}{checkpoint.round:06}"
        replaces = self._replaces - {checkpoint.run_id} if self._is_fresh else ()
        self._files.write(checkpoint, target, replaces)
        others = [path for path in self.rounds() if path != target]
        for path in others if self._is_fresh else others[: max(0, len(others) + 1 - keep)]:
            self._remove(path)
        self._is_fresh = False
        return target

    def break_lock(self) -> None:
        """Remove the lock of a run that is known to be gone, even of one on another machine."""
        (self.path / _LOCK).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder with all in it, unless a run writes to it."""
        if not self._holder():
            shutil.rmtree(self.path, ignore_errors=True)

    def size(self) -> int:
        """Return the bytes of all files in it."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    @property
    def is_in_use(self) -> bool:
        """Whether a run writes to it."""
        return bool(self._holder())

    def _remove(self, path: Path) -> None:
        """Remove a round's folder, which is whole or absent in the meantime too."""
        aside = self.path / f"{DRAFT}{path.name}"
        try:
            path.rename(aside)
        except OSError:
            return
        shutil.rmtree(aside, ignore_errors=True)

    def _lock(self) -> None:
        if self._is_locked:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / _LOCK
        for _ in range(3):
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:
                if holder := self._holder():
                    raise self._in_use(holder) from None
                _take_away(path)
                continue
            with os.fdopen(handle, "w") as file:
                json.dump(_this_process(), file)
            _held.add(self.path)
            self._is_locked = True
            return
        raise self._in_use({})

    def _holder(self) -> dict[str, Any]:
        """Return the process that writes to the folder; empty for none, or one that is gone."""
        path = self.path / _LOCK
        try:
            age = time.time() - path.stat().st_mtime
            found = dict(read_json_file(path))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError):
            return {"pid": "?"} if age < _EMPTY_LOCK else {}
        if found.get("host") != socket.gethostname():
            return found
        if found.get("pid") == os.getpid() and found == _this_process():
            return found if self.path in _held else {}
        started = _started(found.get("pid"))
        return found if started is not None and started == found.get("started") else {}

    def _in_use(self, holder: dict[str, Any]) -> RunError:
        who = (
            "this notebook" if holder.get("pid") == os.getpid() else f"process {holder.get('pid')}"
        )
        if holder.get("host") not in (None, socket.gethostname()):
            who += f" on {holder['host']} (if it is gone, remove {self.path / _LOCK})"
        return RunError(
            f"another run writes its checkpoints to {self.path}: {who}",
            "stop that run first, or name another folder",
            option="checkpoint",
        )


def _expanded(path: Path) -> Path:
    """Return a path with the home folder in place of ~. Raises RunError where there is none."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise RunError(
            f"{path} names a home folder, and there is none of this name",
            "write the whole path",
            option="checkpoint",
        ) from None


def _read(path: Path) -> Checkpoint:
    """Return the checkpoint of the round that a folder is named by. Raises RunError for another."""
    found = Checkpoint.read(path)
    if found.round != int(path.name.removeprefix(_PREFIX)):
        raise RunError(
            f"the checkpoint {path} is that of round {found.round}",
            "give each folder its own name again, or remove it",
        )
    return found


def _cannot(what: str, path: Path, error: OSError) -> RunError:
    return RunError(
        f"{what} in {path} ({error.strerror or error})",
        "make room or name another folder; earlier checkpoints stay as they are",
        option="checkpoint",
    )


def cannot_write(rounds: Sequence[int], path: Path, error: OSError) -> RunError:
    """Return the error of successive rounds that could not be saved."""
    which = f"round {rounds[0]}" if len(rounds) == 1 else f"rounds {rounds[0]} to {rounds[-1]}"
    return _cannot(f"{which} can't be saved", path, error)


def _take_away(path: Path) -> None:
    """Remove a lock that was left behind, by a rename that one process alone can do."""
    aside = path.with_name(f"{DRAFT}lock-{os.getpid()}")
    try:
        path.rename(aside)
    except OSError:
        return
    aside.unlink(missing_ok=True)


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"pid": pid, "started": _started(pid), "host": socket.gethostname()}


def _started(pid: Any) -> str | None:
    """Return when a process began, so that another one with its number is told apart; "" where the
    system does not say, and None for a process that is gone.
    """
    if not isinstance(pid, int):
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the number is none that a process has, too
        return None
    except OSError:
        pass  # it is another user's
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
