"""Early stopping: predicates over the history, evaluated after every whole round."""

from __future__ import annotations

import math
import operator
import re
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.history import OWNERS, History, better
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


#: Numbers for a share that are taken for per cent in a hint.
_FEW_PERCENT, _PERCENT = 10, 100
#: The least and the greatest value of metrics that have them.
_BOUNDS = {
    **dict.fromkeys(
        ("accuracy", "auc", "average_precision", "balanced_accuracy", "f1", "precision", "recall"),
        (0.0, 1.0),
    ),
    **dict.fromkeys(("brier", "mae", "mse", "rmse", "log_loss", "epsilon"), (0.0, math.inf)),
    "perplexity": (1.0, math.inf),
    "r2": (-math.inf, 1.0),
}


def _check_possible(metric: str, sign: str, number: float, text: str) -> None:
    """Raise OptionError for a clause that no value of its metric fulfils."""
    owner = next((owner for owner in OWNERS if metric.startswith(owner)), "")
    low, high = _BOUNDS.get(metric.removeprefix(owner), (-math.inf, math.inf))
    best = high if sign.startswith(">") else low
    if math.isinf(best) or _OPERATORS[sign](best, number):
        return
    word = "at most" if sign.startswith(">") else "at least"
    is_percent = high == 1 and sign.startswith(">") and _FEW_PERCENT <= number <= _PERCENT
    hint = f"write {number / _PERCENT:g} for {number:g} %" if is_percent else "give another number"
    raise OptionError(
        f"{option('until', text)} can never hold: {metric} is {word} {best:g}",
        hint,
        option="until",
        value=text,
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

        for metric, sign, number in self.clauses():
            _check_possible(metric, sign, number, self.text)

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
