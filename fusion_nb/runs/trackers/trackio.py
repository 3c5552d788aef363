"""Trackio, which keeps runs on this machine."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from fusion_nb.core.protocols.tracker import StoredRun, TrackedEnd, TrackedRun, Tracker
from fusion_nb.core.types import Metrics
from fusion_nb.errors import RunError
from fusion_nb.runs.trackers.common import DEFAULT_PARTIES, MostParties
from fusion_nb.runs.trackers.facts import finite
from fusion_nb.runs.trackers.rounds_read import is_tag


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

    def stored(self) -> list[StoredRun]:
        """Return the runs of the project. Raises RunError for one that is not there."""
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        if self._project not in SQLiteStorage.get_projects():
            known = ", ".join(SQLiteStorage.get_projects()) or "none"
            raise RunError(f"trackio has no project {self._project!r}", f"there are: {known}")
        found = []
        for run in trackio.Api().runs(self._project):
            config = {k: v for k, v in (run.config or {}).items() if not k.startswith("_")}
            rounds = {
                int(log["step"]): {k: v for k, v in log.items() if isinstance(v, int | float)}
                for log in SQLiteStorage.get_logs(self._project, run_id=run.id)
            }
            for metrics in rounds.values():
                metrics.pop("step")
            tags = {k: str(config.pop(k)) for k in [*config] if is_tag(k)}
            lacks = ("numbers that are not finite",)
            found.append(StoredRun(run.name, config, tags, rounds, lacks))
        return found
