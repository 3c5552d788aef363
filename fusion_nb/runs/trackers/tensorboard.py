"""TensorBoard's event files, without torch or TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from fusion_nb.core.protocols.tracker import StoredRun, TrackedEnd, TrackedRun, Tracker
from fusion_nb.core.types import Metrics
from fusion_nb.runs.trackers import event_reading
from fusion_nb.runs.trackers.common import DEFAULT_PARTIES, MostParties
from fusion_nb.runs.trackers.event_file import EventFile


class TensorBoard(Tracker):
    """Event files in a folder, one folder inside it for each run: %tensorboard --logdir runs."""

    packages: ClassVar[tuple[str, ...]] = ("tensorboard",)

    def __init__(
        self,
        *,
        folder: Annotated[str, Field(min_length=1, description="the logdir")] = "runs",
        parties: MostParties = DEFAULT_PARTIES,
    ) -> None:
        # The current folder may be another one when the thread begins to write.
        self._folder, self.parties = Path(folder).expanduser().absolute(), parties
        self._run: Path | None = None
        self._file: EventFile | None = None
        self._round = 0

    @property
    def notes(self) -> list[str]:
        """Where the run is found."""
        if self._run is None:
            return []
        return [f"tensorboard: {self._run.name}; %tensorboard --logdir {self._folder}"]

    def start(self, run: TrackedRun) -> None:
        """Open the folder of the run, and write its parameters the first time."""
        folder = self._folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', run.name)}-{run.id[:8]}"
        is_new = not folder.is_dir()
        self._file, self._run = EventFile(folder), folder
        if is_new:
            self._file.parameters(run.params, run.id)
            cell = "\n".join(f"    {line}" for line in run.tags["fusion_nb.cell"].splitlines())
            self._file.text("fusion_nb/cell", cell)
            self._file.text(event_reading.FACTS, event_reading.facts_text(run.tags))

    def log(self, round: int, metrics: Metrics) -> None:
        """Write scalars, with the round as their step."""
        assert self._file is not None
        self._file.scalars(metrics, round)
        self._round = round

    def end(self, ending: TrackedEnd) -> None:
        """Write the chart and the card, and close the file."""
        assert self._file is not None
        if ending.folder is not None:
            chart = (ending.folder / "chart.png").read_bytes()
            self._file.image("fusion_nb/chart", chart, self._round)
            text = (ending.folder / "CARD.md").read_text(encoding="utf-8")
            self._file.text("fusion_nb/card", text, self._round)
        self._file.close()

    def stored(self) -> list[StoredRun]:
        """Return the runs of the folder."""
        return event_reading.stored_runs(self._folder)
