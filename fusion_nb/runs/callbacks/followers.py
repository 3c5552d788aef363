"""Those that are told how a training goes: listeners of every change, and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import Stopped
from fusion_nb.runs.callbacks.chain import CallbackChain


@dataclass(frozen=True)
class Followers:
    """Tells listeners first, which draw, and then callbacks; at the end the other way round, since
    callbacks may add notes that are drawn.

    notify: tells listeners of a whole round, or a change of status
    """

    notify: Callable[[], None]
    callbacks: CallbackChain

    def begin(self) -> None:
        """Tell that a training begins."""
        self.notify()
        self.callbacks.start()

    def decide(self, record: RoundRecord) -> str:
        """Return why a callback ends the run after a round, or "". Listeners hear of it later."""
        return self.callbacks.decide(record)

    def tell(self) -> None:
        """Tell the rounds that are saved."""
        self.notify()
        self.callbacks.tell()

    def end(self) -> None:
        """Tell that a training has ended."""
        with suppress(Stopped):
            self.callbacks.end()
        self.notify()
