"""Early stopping: predicates over the history, evaluated after every whole round."""

from __future__ import annotations

import math
import operator
import re
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.history import History, better
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.runs.callbacks.callback import Callback
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.spec import RunSpec

#: Returns why a run ends after the last of these rounds, or "".
EarlyStopping = Callable[[History], str]
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CLAUSE = re.compile(
    r"\s*([A-Za-z_]\w*)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$"
)


class Predicate(Callback):
    """A callback that decides by the history alone, and so for one that was saved, too."""

    @abstractmethod
    def __call__(self, history: History) -> str:
        """Return why a run ends after the last of these rounds, or ""."""

    def on_round(self, run: Any, record: RoundRecord) -> str:
        """Decide after a whole round."""
        return self(run.records)


@dataclass(frozen=True)
class Until(Predicate):
    """Stop once every clause of `"accuracy >= 0.95 and loss < 0.2"` holds for the fused model.

    A clause about a metric that the round did not measure does not hold. Raises OptionError for
    text of another form.
    """

    text: str

    def __post_init__(self) -> None:
        self.clauses()

    def clauses(self) -> list[tuple[str, str, float]]:
        """Return the (metric, comparison, number) of each clause."""
        matches = [_CLAUSE.match(clause) for clause in re.split(r"\band\b", self.text)]
        if not all(matches):
            raise OptionError(
                f"{option('until')} can't read {self.text!r}",
                'write a metric, one of >= > <= <, and a number, such as "accuracy >= 0.95"; '
                "join several with 'and'",
                value=self.text,
            )
        return [(m[1], m[2], float(m[3])) for m in matches if m]

    def check(self, metrics: list[str]) -> None:
        """Raise OptionError if a clause names a metric that the run will not have."""
        for metric, _, _ in self.clauses():
            if metric not in metrics:
                raise OptionError(
                    f"{option('until')} names the metric {metric!r}, which this run does not have",
                    f"{nearest(metric, metrics)}it will have: {', '.join(metrics)}",
                    value=self.text,
                    allowed=metrics,
                )

    def __call__(self, history: History) -> str:
        """Return the reason to stop, or an empty string."""
        latest = history[-1].metrics
        holds = all(
            _OPERATORS[sign](latest.get(metric, math.nan), number)
            for metric, sign, number in self.clauses()
        )
        return f"{self.text} after round {history[-1].round}" if holds else ""


@dataclass(frozen=True)
class Patience(Predicate):
    """Stop once the monitored metric has not improved for `rounds` measured rounds in a row."""

    rounds: int
    metric: str

    def __call__(self, history: History) -> str:
        """Return the reason to stop, or an empty string."""
        values = [
            record.metrics[self.metric] for record in history if self.metric in record.metrics
        ]
        best, since = math.nan, 0
        for value in values:
            best, since = (value, 0) if better(self.metric, value, best) else (best, since + 1)
        return f"no better {self.metric} for {self.rounds} rounds" if since >= self.rounds else ""


@dataclass(frozen=True)
class EndedBefore(Predicate):
    """Stop where the run that is continued was ended, as by a callback of the user's own."""

    round: int
    reason: str

    def __call__(self, history: History) -> str:
        """Return the reason to stop, or an empty string."""
        return self.reason if len(history) == self.round else ""


def predicates(
    spec: RunSpec, monitor: str, earlier: Checkpoint | None = None
) -> list[EarlyStopping]:
    """Return the predicates that a spec asks for.

    monitor: the metric that patience looks at;  earlier: the run that is continued
    """
    found: list[EarlyStopping] = [Until(spec.until)] if spec.until else []
    if spec.patience:
        found.append(Patience(spec.patience, monitor))
    if earlier is not None and earlier.reason:
        found.append(EndedBefore(earlier.round, earlier.reason))
    return found
