"""What the buttons of a panel call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from fusion_nb.runs.preview import Preview
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec


class RunActions(Protocol):
    """Actions on the run of a panel. Each raises RunError where its state does not allow it."""

    def begin(self, read: Callable[[], RunSpec], delay: float = 0.0) -> None:
        """Begin the run that `read()` returns in the panel's own thread, and return at once."""

    def pause(self) -> None:
        """Pause the run between two batches."""

    def resume(self) -> None:
        """Continue the run after a pause."""

    def step(self) -> None:
        """Train one round, pause again, and return at once."""

    def more(self, rounds: int = 5) -> None:
        """Add rounds to the run, and return at once."""

    def stop(self) -> None:
        """Stop the run between two batches, or cancel one that is being prepared."""

    def work(self, activity: str, action: Callable[[], object], delay: float = 0.0) -> None:
        """Do something else in the panel's own thread, and return at once."""


class PanelActions(Protocol):
    """Actions on the configuration and the results. Each raises a FusionError for a mistake."""

    def preview(self) -> Preview:
        """Show the split, the warnings and the cost of the configured run."""

    def load(self, run: Run) -> None:
        """Put the options of a run into the controls."""

    def change(self, **options: str) -> None:
        """Change options of the run from the next round on."""

    def export(
        self,
        path: str = "fused",
        format: str | Sequence[str] = "",
        *,
        which: str = "last",
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the fused model into a new folder, and return the files."""
