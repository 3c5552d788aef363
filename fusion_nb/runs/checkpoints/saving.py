"""Where a run is saved: in a folder that its user named, or in a bounded cache."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fusion_nb.core.protocols import ModelPoisoning
from fusion_nb.core.snapshot import Snapshot
from fusion_nb.errors import OptionError, RunError, option
from fusion_nb.runs.build import Prepared, training_identity
from fusion_nb.runs.checkpoints import named, owners, rows
from fusion_nb.runs.checkpoints.checkpoint import DAMAGED, Checkpoint, read_about
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.checkpoints.option import OFF, CheckpointOption
from fusion_nb.runs.checkpoints.rounds import SavedRounds
from fusion_nb.runs.checkpoints.writer import CheckpointWriter, WriterBeside
from fusion_nb.runs.checkpoints.writer_ahead import WriterAhead
from fusion_nb.runs.rounds import FederationRounds, RoundSource
from fusion_nb.runs.spec import RunSpec

#: `off`, or the folder of the cache.
VARIABLE = "FUSION_NB_CHECKPOINT"
#: Bytes that all runs in the cache may take, and days after which a run is removed from it.
MAX_BYTES, MAX_DAYS = 2 << 30, 30.0


@dataclass(frozen=True)
class SavedRun:
    """A run on disk, as its latest checkpoint describes it.

    reason: why it ended early, or an empty string;  age: seconds since its latest checkpoint
    """

    name: str
    path: Path
    round: int
    planned: int
    reason: str
    age: float

    @property
    def is_finished(self) -> bool:
        """Whether no round is missing."""
        return bool(self.reason) or self.round >= self.planned

    @classmethod
    def of(cls, folder: CheckpointFolder) -> SavedRun | None:
        """Return the run in a folder, or None where no checkpoint can be read.

        Where it holds rounds of several runs, it is the one with the latest.
        """
        for path in reversed(folder.rounds_left()):
            try:
                about = read_about(path)
                return cls(
                    str(about["name"]),
                    folder.path,
                    int(about["round"]),
                    int(about["spec"]["rounds"]),
                    str(about["early_stopping"]["reason"]),
                    max(0.0, time.time() - path.stat().st_mtime),
                )
            except (*DAMAGED, RunError):
                continue
        return None


class CachedFolder(CheckpointFolder):
    """The folder of one run in the cache, which is bounded in size and age."""

    def acquire(self, *, fresh: bool) -> None:
        """Take the folder, and remove the oldest runs of the cache where it grew too large."""
        super().acquire(fresh=fresh)
        prune(self.path.parent)


def cache() -> Path | None:
    """Return the folder of the cache, or None where it is switched off."""
    given = os.environ.get(VARIABLE, "")
    if given == OFF:
        return None
    if given:
        return Path(given).expanduser()
    from platformdirs import user_cache_path

    return Path(user_cache_path("fusion_nb", appauthor=False)) / "checkpoints"


def switch(word: str) -> None:
    """Switch the cache on or off for the runs that begin from now on, or name its folder."""
    if word == "on":
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = word


def remember(folder: str) -> None:
    """Let `saved_runs` find a folder that a run's user named, "" for none."""
    where = cache()
    if folder and where is not None:
        named.remember(where, Path(folder))


def saved_runs() -> list[SavedRun]:
    """Return the runs in the cache, and those in folders that were named lately; the latest
    first.
    """
    folder = cache()
    if folder is None or not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.is_dir()] + named.folders(folder)
    found = (SavedRun.of(CheckpointFolder(path)) for path in paths)
    return sorted((run for run in found if run is not None), key=lambda run: run.age)


def find(name: str = "") -> SavedRun:
    """Return the run in a folder; or of the runs that are known the latest one, or the latest of a
    name. One with missing rounds comes before one that is finished.

    Raises RunError where there is none.
    """
    if name and (found := SavedRun.of(CheckpointFolder(name))):
        return found
    known = [run for run in saved_runs() if name in ("", run.name, run.path.name)]
    if not known:
        which = f" called {name!r}, and no folder of one" if name else ""
        raise RunError(
            f"there is no saved run{which}",
            f"%fusion runs lists them; {option('checkpoint')} names the folder of a run",
        )
    return next((run for run in known if not run.is_finished), known[0])


def prune(folder: Path, max_bytes: int = MAX_BYTES, max_days: float = MAX_DAYS) -> None:
    """Remove runs from the cache that are too old, and the oldest until the rest is small enough.

    A run that is being written stays.
    """
    runs = [CheckpointFolder(path) for path in folder.iterdir() if path.is_dir()]
    total = 0
    for run in sorted(runs, key=_age):
        try:
            total += run.size()
        except OSError:  # another process removes it
            continue
        if _age(run) > max_days * 86_400 or total > max_bytes:
            run.remove()


def save_rounds(
    source: RoundSource,
    prepared: Prepared,
    *,
    name: str,
    planned_spec: Callable[[], RunSpec],
    reason: Callable[[], str],
    stop: Callable[[], object],
    is_cached: bool,
    folder: Path | None = None,
    tracking: str = "",
) -> RoundSource:
    """Return the rounds of a run that is saved as its spec says, or the source itself.

    planned_spec: returns the options that repeat the run as it is planned now
    reason:       returns why early stopping ends it after the last whole round, or ""
    stop:         ends the training at its next gate
    is_cached:    save it in the cache where the spec names no folder
    folder:       where the run was saved before, if it continues
    tracking:     the id by which trackers know the run, or ""
    Raises OptionError for a folder that can't be used.
    """
    spec = prepared.resolved.spec
    chosen = CheckpointOption.parse(spec.checkpoint)
    if chosen is None and (spec.checkpoint or not is_cached):
        return source
    if not isinstance(source, FederationRounds):
        if chosen is None:
            return source
        raise OptionError(
            f"{option('checkpoint', spec.checkpoint)}: a service saves its runs itself",
            f"leave {option('checkpoint')} out",
        )
    writer = _writer(chosen, prepared, name, folder)
    if writer is None:
        return source

    earlier = prepared.earlier
    training = training_identity(prepared.resolved, earlier)
    run_id = (earlier.run_id if earlier else "") or owners.new_id()

    def take() -> Checkpoint:
        taken = _take(prepared, source, name, planned_spec(), reason())
        return replace(taken, tracking=tracking, run_id=run_id, training=training)

    return SavedRounds(source, take, writer, stop, chosen.every if chosen else 1)


def _writer(
    chosen: CheckpointOption | None, prepared: Prepared, name: str, folder: Path | None
) -> CheckpointWriter | None:
    """Return what writes the checkpoints, or None where the cache is switched off."""

    def hash_rows() -> dict[str, str]:
        return rows.digests(prepared.resolved.data)

    is_fresh = folder is None
    if chosen is not None:
        own = CheckpointFolder(chosen.folder)
        if folder is None or own.path != folder:
            _check_named(own)
            is_fresh = True
        own.check()
        return WriterAhead(own, hash_rows, keep=chosen.keep, is_fresh=is_fresh)
    parent = cache()
    if parent is None:
        return None
    cached = CachedFolder(folder or parent / _new_name(name))
    return WriterBeside(cached, hash_rows, keep=CheckpointOption.keep, is_fresh=is_fresh)


def _check_named(folder: CheckpointFolder) -> None:
    """Raise OptionError where a run would replace an earlier one that is not finished."""
    folder.check_one_run()
    found = SavedRun.of(folder)
    if found is not None and not found.is_finished:
        raise OptionError(
            f"{option('checkpoint', folder.path)} holds round {found.round} of {found.planned} of "
            f"the run {found.name!r}",
            "resume that run, or name another folder, or remove this one",
        )


def _take(
    prepared: Prepared, source: RoundSource, name: str, spec: RunSpec, reason: str
) -> Checkpoint:
    federation, attack = prepared.federation, prepared.resolved.attack
    return Checkpoint(
        name=name,
        spec=spec.model_dump(exclude_unset=True, exclude={"checkpoint"}) | {"rounds": spec.rounds},
        snapshot=Snapshot.of(federation),
        initial=federation.network.initial_model,
        best=source.best_weights,
        reason=reason,
        baselines={other.name: other.persistent_state for other in federation.baselines},
        attack=attack.persistent_state if isinstance(attack, ModelPoisoning) else {},
        schema=prepared.resolved.data.schema.to_json(),
    )


def _new_name(name: str) -> str:
    """Return a name for the folder of a run, which no other run in the cache has."""
    safe = re.sub(r"\W+", "_", name)
    return f"{safe}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{time.monotonic_ns() % 10**6}"


def _age(folder: CheckpointFolder) -> float:
    try:
        return time.time() - folder.path.stat().st_mtime
    except OSError:
        return float("inf")
