"""One run at a time, whichever panel begins it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fusion_nb.errors import RunError
from fusion_nb.runs import session
from fusion_nb.runs.experiments.calls import EXPERIMENTS
from fusion_nb.runs.run import Run

#: Held while a panel decides whether its run may continue, so that two clicks never begin two runs.
deciding = threading.RLock()
#: The objects that are about to let a run continue.
_launching: list[object] = []


def is_launching(owner: object | None = None) -> bool:
    """Return whether an owner, or any, is about to let a run continue."""
    return bool(_launching) if owner is None else owner in _launching


def check_alone(but: Run | None = None) -> None:
    """Raise RunError while a run is running, other than the given one, or about to begin."""
    running = [
        run.name for run in session.RUNS.values() if run.status == "running" and run is not but
    ]
    running += [made.name for made in EXPERIMENTS.values() if made.status == "running"]
    if running:
        raise RunError(f"{running[-1]} is running", "wait for its end, or stop it first")
    if _launching:
        raise RunError("a run is about to begin", "wait a moment")


def launch(
    owner: object, action: Callable[[], object], begin: Callable[[Callable[[], None]], None]
) -> None:
    """Let a run continue; until it does, no other may. Called while `deciding` is held.

    action: lets it continue;  begin: begins that action in another thread, or raises RunError
    """

    def run_action() -> None:
        try:
            action()
        finally:
            with deciding:
                _launching.remove(owner)

    _launching.append(owner)
    try:
        begin(run_action)
    except RunError:
        _launching.remove(owner)
        raise
