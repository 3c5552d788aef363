"""The contract of a tracker: where the parameters, metrics and results of runs are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fusion_nb.core.types import Metrics
from fusion_nb.errors import RunError


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker stores it when a training begins.

    id:     32 hexadecimal digits, the same for a run that is resumed or gets more rounds
    name:   of the run;  params: its options;  tags: facts beside them, as text
    round:  whole rounds that it has already: 0 unless it continues
    """

    id: str
    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    round: int = 0


@dataclass(frozen=True)
class TrackedEnd:
    """The end of a training as a tracker stores it.

    status:  finished, stopped or failed;  reason: why it ended, in words, or ""
    metrics: of the last and of the best round
    folder:  an export with card, chart, history, schema and the model's files; None where no round
             is whole, and without files of a model that can't be written
    notes:   sentences about the run
    """

    status: str
    reason: str
    metrics: Metrics
    folder: Path | None = None
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class StoredRun:
    """A run as a tracker gives it back.

    name:   of the run;  params: its options, as text or as they were
    tags:   facts beside them, those of `TrackedRun` that the tracker keeps
    rounds: the metrics of each whole round, as `log` was given them
    lacks:  parts that the tracker does not keep, in words, as "the digits beyond 32 bits"
    """

    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    rounds: Mapping[int, Metrics]
    lacks: Sequence[str] = ()


class Tracker(ABC):
    """Stores runs somewhere. All its methods are called in one thread, which no training waits for.

    A method may be slow. It may raise: that ends the tracker with a note, and no round.

    >>> class Printed(Tracker):
    ...     def start(self, run):
    ...         print(run.name, run.params["lr"])
    ...     def log(self, round, metrics):
    ...         print(round, metrics)
    ...     def end(self, ending):
    ...         print(ending.status)
    >>> tracker = Printed()
    >>> tracker.start(TrackedRun("0" * 32, "run", {"lr": 0.1}, {}))
    run 0.1
    >>> tracker.log(1, {"loss": 0.5, "party/clinic 5/loss": 0.7})
    1 {'loss': 0.5, 'party/clinic 5/loss': 0.7}
    """

    #: The packages that it needs, as they are imported.
    packages: ClassVar[tuple[str, ...]] = ()
    #: The parties of a run at most, if each one's metrics are to be logged.
    parties: int = 20

    @abstractmethod
    def start(self, run: TrackedRun) -> None:
        """Begin to store a run, or go on with the stored one of its id."""

    @abstractmethod
    def log(self, round: int, metrics: Metrics) -> None:
        """Store the metrics of a whole round; those of parties are `party/NAME/accuracy`."""

    @abstractmethod
    def end(self, ending: TrackedEnd) -> None:
        """Store the end of a training. `start` may follow, with further rounds."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user, such as where the run is found."""
        return ()

    def stored(self) -> Sequence[StoredRun]:
        """Return the runs that are stored, so that they can be compared with others.

        Raises RunError where they can't be read back, which is the default.
        """
        raise RunError(
            f"the tracker {type(self).__name__} has no method that reads runs back",
            "compare the run itself, or the folder that run.export() writes",
        )
