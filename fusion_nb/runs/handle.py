"""The part of a run that charts, panels and commands need, wherever its rounds are trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

from fusion_nb.core.history import History
from fusion_nb.core.types import Failure
from fusion_nb.engines.progress import Progress
from fusion_nb.reporting.result import Result

#: The status of a run that may add rounds by itself, and of one that does not any more.
UNDER_WAY = ("running", "paused")
ENDED = ("finished", "stopped", "failed")


class RunHandle(ABC):
    """A run that can be followed, waited for and stopped.

    `fusion_nb.Run` has more: it is steered, and answers for its model.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in messages, and of the variable that it is bound to."""

    @property
    @abstractmethod
    def status(self) -> str:
        """ready, running, paused, finished, stopped or failed."""

    @property
    @abstractmethod
    def reason(self) -> str:
        """Why it ended, in words, or an empty string."""

    @property
    @abstractmethod
    def planned(self) -> int:
        """The number of rounds that it has in the end, if nothing ends it early."""

    @property
    @abstractmethod
    def records(self) -> History:
        """The whole rounds so far, as a copy. It never waits."""

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """Sentences about what was inferred from model and data, and warnings."""

    @property
    @abstractmethod
    def chart_metrics(self) -> tuple[str, str]:
        """The two metrics of charts: the loss, and the one that people read."""

    @property
    def loss_name(self) -> str:
        """The name of the loss that the model is trained by, or "" where it is not known."""
        return ""

    @property
    @abstractmethod
    def failures(self) -> Sequence[Failure]:
        """The failures of parties, with their tracebacks."""

    @abstractmethod
    def start(self) -> Self:
        """Train in the background, and return at once."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it has ended, and raise the error that ended it, if one did."""

    @abstractmethod
    def stop(self, wait: bool = True) -> Self:
        """Stop between two batches and keep the last whole round."""

    @abstractmethod
    def subscribe(self, listener: Callable[[Self], object]) -> Callable[[], None]:
        """Call `listener(run)` after every whole round and change of status.

        Return a function that ends the subscription.
        """

    @abstractmethod
    def on_progress(self, listener: Callable[[Progress], None]) -> Callable[[], None]:
        """Call `listener` for every reply of a party within a round.

        Return a function that ends the subscription.
        """

    @abstractmethod
    def result(self) -> Result:
        """Return the run as one record, as it stands now. It never waits."""
