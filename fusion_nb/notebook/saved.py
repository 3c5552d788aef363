"""The lines that `%fusion resume` and `%fusion runs` print of runs on disk."""

from __future__ import annotations

from collections.abc import Collection

from fusion_nb.reporting.formatting import duration
from fusion_nb.runs.checkpoints.saving import SavedRun, saved_runs

#: Runs on disk that are listed, at most.
_MAX_LISTED = 10


def listing(known: Collection[str]) -> list[str]:
    """Return a line for each of the latest runs on disk.

    known: folders of runs that are listed already
    """
    found = [run for run in saved_runs() if str(run.path) not in known]
    lines = [line_of(run) for run in found[:_MAX_LISTED]]
    if len(found) > _MAX_LISTED:
        folders = dict.fromkeys(str(run.path.parent) for run in found[_MAX_LISTED:])
        lines.append(f"and {len(found) - _MAX_LISTED} more on disk, in {', '.join(folders)}")
    return lines


def line_of(run: SavedRun) -> str:
    """Return where a run on disk stands, and how it is taken up."""
    parts = [f"on disk: {run.name}", f"round {run.round} of {run.planned}"]
    if run.reason:
        parts.append(run.reason)
    parts += [f"saved {duration(run.age)} ago", f"%fusion resume {run.path}"]
    return ", ".join(parts)
