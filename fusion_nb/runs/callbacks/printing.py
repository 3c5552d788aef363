"""A callback that prints, for the command line."""

from __future__ import annotations

from typing import Any

from fusion_nb.core.types import RoundRecord
from fusion_nb.runs.callbacks.callback import Callback


class RoundPrinter(Callback):
    """Prints each whole round in a line, once it is saved."""

    after_saving = True

    def on_round(self, run: Any, record: RoundRecord) -> None:
        """Print a round."""
        import typer

        metrics = "  ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
        typer.echo(f"round {record.round}  {metrics}  ({record.seconds:.1f} s)")
