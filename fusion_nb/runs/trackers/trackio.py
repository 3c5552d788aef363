"""Trackio, which keeps runs on this machine."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from fusion_nb.core.protocols.tracker import TrackedEnd, TrackedRun, Tracker
from fusion_nb.core.types import Metrics
from fusion_nb.runs.trackers.common import DEFAULT_PARTIES, MostParties
from fusion_nb.runs.trackers.facts import finite


class Trackio(Tracker):
    """A run of trackio, in the folder that TRACKIO_DIR names: trackio show opens it."""

    packages: ClassVar[tuple[str, ...]] = ("trackio",)

    def __init__(
        self,
        *,
        project: Annotated[str, Field(min_length=1, description="the project")] = "fusion_nb",
        parties: MostParties = DEFAULT_PARTIES,
    ) -> None:
        self._project, self.parties = project, parties
        self._run: Any = None
        self._name = ""

    @property
    def notes(self) -> list[str]:
        """Where the run is found."""
        return [f"trackio: {self._name}; trackio show --project {self._project}"] * bool(self._name)

    def start(self, run: TrackedRun) -> None:
        """Begin the run, or go on with it: runs are known by their names there."""
        import trackio

        name = f"{run.name}-{run.id[:8]}"
        self._run = trackio.init(
            project=self._project,
            name=name,
            config={**run.params, **run.tags},
            resume="allow",
            embed=False,
        )
        self._name = name

    def log(self, round: int, metrics: Metrics) -> None:
        """Log the metrics, with the round as their step."""
        self._run.log(finite(metrics), step=round)

    def end(self, ending: TrackedEnd) -> None:
        """Finish the run."""
        self._run.finish()
