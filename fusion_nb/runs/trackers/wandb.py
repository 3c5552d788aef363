"""Weights & Biases, online where the user is logged in, and offline otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fusion_nb.core.protocols.tracker import StoredRun, TrackedEnd, TrackedRun, Tracker
from fusion_nb.core.types import Metrics
from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.runs.trackers.common import DEFAULT_PARTIES, MostParties

_MODES = ("auto", "online", "offline")


class WandB(Tracker):
    """A run of Weights & Biases; without a login, a folder that `wandb sync` sends later."""

    packages: ClassVar[tuple[str, ...]] = ("wandb",)

    def __init__(
        self,
        *,
        project: Annotated[str, Field(min_length=1, description="the project")] = "fusion_nb",
        entity: Annotated[str, Field(description="the user or team")] = "",
        mode: Annotated[
            str, Field(description="online, offline, or auto: online where there is a login")
        ] = "auto",
        folder: Annotated[str, Field(min_length=1, description="the folder of its files")] = ".",
        parties: MostParties = DEFAULT_PARTIES,
    ) -> None:
        if mode not in _MODES:
            raise OptionError(
                f"{option('log')}: wandb:mode={mode} is not allowed",
                f"{nearest(mode, _MODES)}give {', '.join(_MODES)}",
                option="log",
                allowed=_MODES,
            )
        self._project, self._entity, self._mode = project, entity, mode
        self._folder, self.parties = Path(folder).expanduser().absolute(), parties
        self._run: Any = None
        self._notes: list[str] = []

    @property
    def notes(self) -> list[str]:
        """Where the run is found."""
        return self._notes

    def start(self, run: TrackedRun) -> None:
        """Begin the run, or go on with it."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._folder.mkdir(parents=True, exist_ok=True)
        mode = self._chosen_mode(wandb)
        self._run = wandb.init(
            project=self._project,
            entity=self._entity or None,
            name=run.name,
            id=run.id,
            config={**run.params, **run.tags},
            mode=mode,
            dir=str(self._folder),
            resume="allow" if run.round and mode == "online" else None,
            reinit="create_new",  # a run of the notebook's own goes on beside it
            settings=wandb.Settings(silent=True, console="off"),
        )
        where = self._run.url if mode == "online" else Path(self._run.dir).parent
        sync = "" if mode == "online" else f"; send it: wandb sync {where}"
        self._notes = [f"wandb: {where}{sync}"] if mode != "disabled" else []

    def log(self, round: int, metrics: Metrics) -> None:
        """Log the metrics, with the round as their step."""
        self._run.log(dict(metrics), step=round)

    def end(self, ending: TrackedEnd) -> None:
        """Log results and files, and finish the run."""
        import wandb

        self._run.summary.update({"status": ending.status, "reason": ending.reason})
        self._run.summary.update(dict(ending.metrics))
        if ending.folder is not None:
            chart = wandb.Image(str(ending.folder / "chart.png"))
            self._run.log({"chart": chart}, commit=True)
            artifact = wandb.Artifact(f"fused-{self._run.id}", type="model")
            for path in sorted(ending.folder.rglob("*")):
                if path.is_file():
                    artifact.add_file(str(path), path.relative_to(ending.folder).as_posix())
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=1 if ending.status == "failed" else 0)

    def stored(self) -> list[StoredRun]:
        """Return the runs that are kept offline in the folder; those of a server are not read."""
        from fusion_nb.runs.trackers.wandb_file import stored_runs

        return stored_runs(self._folder)

    def _chosen_mode(self, wandb: Any) -> Any:
        """Return the mode: without a login, `wandb.init` would ask for a key and wait for ever."""
        if self._mode != "auto":
            return self._mode
        if given := os.environ.get("WANDB_MODE"):
            return given
        return "online" if wandb.login(prompt=False) else "offline"
