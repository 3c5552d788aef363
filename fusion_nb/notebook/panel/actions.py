"""The actions that the buttons of a panel call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fusion_nb.runs.preview import Preview
from fusion_nb.runs.run import Run


class PanelActions(Protocol):
    """Actions on the configuration, the run and the results of a panel.

    Each raises a FusionError for a mistake, or where the status of the run does not allow it.
    """

    def preview(self) -> Preview:
        """Show the split, the warnings and the cost of the configured run."""

    def load(self, run: Run) -> None:
        """Put the options of a run into the controls."""

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
