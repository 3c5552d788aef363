"""The run that each round of a folder belongs to: rounds of another run may be copied into it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_nb.errors import RunError
from fusion_nb.runs.checkpoints.checkpoint import DAMAGED, read_about


@dataclass(frozen=True)
class OwnedRound:
    """A round's folder, and the run that wrote it.

    run_id:   of the run; "" where an earlier version wrote it;  name: of the run
    replaces: ids of the runs whose rounds were to be removed once this one was written
    """

    path: Path
    run_id: str
    name: str
    replaces: frozenset[str]


def new_id() -> str:
    """Return a random id for a run that begins."""
    return secrets.token_hex(8)


def owned(paths: Iterable[Path]) -> list[OwnedRound]:
    """Return the rounds of which it can be read whose they are, in order."""
    found = []
    for path in paths:
        try:
            about = read_about(path)
            found.append(OwnedRound(path, str(about.get("run_id", "")), *_rest(about)))
        except (*DAMAGED, RunError):
            continue
    return found


def replaced(rounds: Sequence[OwnedRound]) -> list[Path]:
    """Return the rounds of runs that a later run replaced, and was killed before it removed them.

    A run names those that it replaces in its first checkpoint alone.
    """
    gone = frozenset[str]().union(*(found.replaces - {found.run_id} for found in rounds))
    return [found.path for found in rounds if found.run_id in gone]


def check_one_run(folder: Path, rounds: Sequence[OwnedRound]) -> None:
    """Raise RunError where a folder holds rounds of several runs.

    Rounds without an id are of any run: those of an earlier version may have been continued.
    """
    by_run: dict[str, list[OwnedRound]] = {}
    for found in rounds:
        if found.run_id:
            by_run.setdefault(found.run_id, []).append(found)
    if len(by_run) < 2:
        return
    whose = "; ".join(
        f"{', '.join(found.path.name for found in of_run)} of the run {of_run[0].name!r} "
        f"({run_id[:16]})"
        for run_id, of_run in by_run.items()
    )
    raise RunError(
        f"{folder} holds rounds of several runs: {whose}",
        "move the rounds of all runs but one into another folder",
        option="checkpoint",
    )


def _rest(about: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    return str(about["name"]), frozenset(map(str, about.get("replaces", ())))
