"""One run of an experiment, with its outcome: what tables, charts and folders know of it."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.history import History, from_dict
from fusion_nb.core.types import Weights
from fusion_nb.reporting.contributions import Contributions
from fusion_nb.reporting.experiments.leaderboard import mean_and_std
from fusion_nb.runs.experiments import steps
from fusion_nb.runs.experiments.spec import Point
from fusion_nb.runs.run import Run

#: The status of a trial that is trained no further.
TRIAL_ENDED = ("finished", "failed", "pruned")


@dataclass(frozen=True)
class Facts:
    """The facts about a run besides its rounds.

    metrics: the loss, and the metric that people read;  monitor: the metric that decides the best
    chosen:  options that the model chose;  cell: text that repeats the run;  notes: its notes
    steps:   gradient steps of all parties in each round, None where they are not counted
    initial_sha256: of the first weights;  packages: those that the model needs
    contributions: of parties, measured after the last round; None where nothing was
    """

    metrics: tuple[str, str]
    monitor: str
    loss_name: str = ""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    cell: str = ""
    notes: tuple[str, ...] = ()
    steps: tuple[int, ...] | None = None
    initial_sha256: str = ""
    packages: tuple[str, ...] = ()
    contributions: Contributions | None = None

    @classmethod
    def of(cls, run: Run) -> Facts:
        """Return the facts of a run as it stands now."""
        result = run.result()
        measured = result.parties.contributions
        return cls(
            metrics=run.chart_metrics,
            monitor=result.monitor,
            loss_name=run.loss_name,
            chosen={name: str(value) for name, value in result.chosen.items()},
            cell=result.cell,
            notes=tuple(run.notes),
            steps=steps.per_round(run),
            initial_sha256=result.initial_sha256,
            packages=tuple(run.prepared.resolved.model.packages),
            contributions=measured if measured.is_measured else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        measured = self.contributions.to_dict() if self.contributions else None
        return found | {"chosen": dict(self.chosen), "contributions": measured}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Facts:
        """Return the facts that `to_dict` made these values from."""
        lists = ("metrics", "notes", "steps", "packages")
        known = {name: value for name, value in found.items() if name in cls.__dataclass_fields__}
        read: dict[str, Any] = {
            name: tuple(value) if name in lists and value is not None else value
            for name, value in known.items()
        }
        if read.get("contributions"):
            read["contributions"] = Contributions.from_dict(read["contributions"])
        return cls(**read)


@dataclass(repr=False)
class Trial:
    """One run of an experiment.

    point:   its settings, its seed and its options
    status:  waiting, running, finished, stopped, failed or pruned;  reason: why, in words
    records: its whole rounds;  facts: None before it has begun
    run:     the run itself where it was trained in this process and is the best of all
    weights: the fused weights where a worker process trained it and it is the best of all
    """

    point: Point
    status: str = "waiting"
    reason: str = ""
    records: History = field(default_factory=History)
    facts: Facts | None = None
    run: Run | None = field(default=None, repr=False)
    weights: Weights | None = field(default=None, repr=False)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The options that vary, with the value that each has here."""
        return self.point.settings

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.point.seed

    @property
    def history(self) -> History:
        """The whole rounds, as a list with columns."""
        return self.records

    @property
    def name(self) -> str:
        """The settings and the seed in words."""
        seed = f"seed {self.seed}"
        return f"{self.point.label}, {seed}" if self.point.label else seed

    @property
    def seconds(self) -> float:
        """The time of all its rounds."""
        return self.records.seconds()

    def value(self, metric: str) -> float:
        """Return the last value of a metric, NaN without any."""
        return self.records.last().get(metric, math.nan)

    def outcome(self) -> dict[str, Any]:
        """Return seed, status, last metrics and costs as one flat row."""
        return {
            "seed": self.seed,
            "status": self.status,
            "rounds": len(self.records),
            **self.records.last(),
            "bytes": self.records.bytes_sent()[-1] if self.records else 0,
            "seconds": self.seconds,
            "reason": self.reason,
        }

    def __repr__(self) -> str:
        parts = [f"{self.name}: {self.status}, {len(self.records)} rounds"]
        if self.facts and self.records:
            monitor = self.facts.monitor
            parts.append(f"{monitor} {mean_and_std(self.value(monitor), math.nan)}")
        return ", ".join([*parts, *([self.reason] if self.reason else [])])

    def key(self) -> str:
        """Return text that is the same for the same options of a run."""
        return key_of(self.point)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as values that JSON can hold."""
        # Settings that are not allowed have no options of a run that would tell them.
        label = {} if self.facts else {"label": self.point.label}
        return {
            **label,
            "key": self.key(),
            "status": self.status,
            "reason": self.reason,
            "facts": self.facts.to_dict() if self.facts else None,
            "history": json.loads(self.records.to_json()),
        }

    def take(self, found: Mapping[str, Any]) -> None:
        """Take over the outcome that `to_dict` returned."""
        self.status, self.reason = str(found["status"]), str(found["reason"])
        self.facts = Facts.from_dict(found["facts"]) if found["facts"] else None
        self.records = History(map(from_dict, found["history"]))


def key_of(point: Point) -> str:
    """Return text that is the same for the same options of a run, wherever it is trained."""
    options = point.spec.model_dump(exclude_unset=True, exclude={"checkpoint", "engine", "device"})
    return json.dumps(options, sort_keys=True, default=str)


class HasTrials(ABC):
    """An experiment, as a comparison sees it."""

    name: str

    @property
    @abstractmethod
    def runs(self) -> list[Trial]:
        """Its runs, in order: settings, seed, status, history and reason of each."""
