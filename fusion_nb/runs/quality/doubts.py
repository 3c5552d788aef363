"""Doubts about a run that has ended: notes where its model is of no use, and where it is worse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core.history import History, better, is_higher_better
from fusion_nb.errors import cell_spelling as written
from fusion_nb.reporting.formatting import number
from fusion_nb.reporting.parties import Parties

#: Fewer test rows than this, in all or of one party, show nothing for sure.
_MIN_ROWS, _MIN_PARTY_ROWS = 20, 5
#: Rounds from which on one may expect that a later one is better than the first.
_MIN_ROUNDS = 4
#: A value from which on no round can be much better.
_SATURATED = 0.99
#: The share of a party's loss by which it differs for sure.
_MARGIN = 0.05


@dataclass(frozen=True)
class TestLabels:
    """The labels of the test rows that the metrics of a run are measured on, from counts and sums.

    num:    rows;  kind: "classes", "flags" or "numbers"
    share:  of the labels that are right where the commonest one is always predicted
    common: the commonest class;  variance: of labels that are numbers, as the model sees them
    """

    __test__ = False  # it is no test

    num: int
    kind: str
    share: float = math.nan
    common: str = ""
    variance: float = math.nan

    @classmethod
    def of(cls, parts: Sequence[np.ndarray], schema: Any, ignored: int | None) -> TestLabels:
        """Return the facts about the labels of several test sets; `schema` is that of labels."""
        labels = np.concatenate([np.asarray(part) for part in parts])
        if schema.kind == "classes":
            counted = labels[labels != ignored] if ignored is not None else labels
            classes, counts = np.unique(counted, return_counts=True)
            if not len(counts):
                return cls(0, "classes")
            most = int(classes[counts.argmax()])
            name = schema.classes[most] if 0 <= most < len(schema.classes) else str(most)
            return cls(len(labels), "classes", float(counts.max() / counts.sum()), name)
        if schema.kind in ("flags", "mask"):
            means = (labels.reshape(len(labels), -1) > 0).mean(0)
            return cls(len(labels), "flags", float(np.maximum(means, 1 - means).mean()))
        if schema.kind in ("numbers", "rows") and labels.dtype.kind in "biuf":
            scaled = labels.reshape(len(labels), -1).astype(np.float64) / schema.scale
            return cls(len(labels), "numbers", variance=float(scaled.var(0).mean()))
        return cls(0, schema.kind)


@dataclass(frozen=True)
class Ended:
    """A run that has ended, as its notes look at it.

    metrics: the names that its model measures;  monitor: the metric that is looked at
    parties: their reports;  is_personal: parties have models of their own
    is_interrupted: someone stopped it before its last round
    can_weigh: the model may weigh rows by their class
    """

    history: History
    metrics: Sequence[str]
    monitor: str
    parties: Parties
    test: TestLabels
    spec: Mapping[str, Any]
    is_personal: bool = False
    is_interrupted: bool = False
    can_weigh: bool = True


def doubts(run: Ended) -> list[str]:
    """Return the notes, the gravest first; none for a run that shows nothing for sure."""
    if not run.history:
        return []
    found = [*_no_better_than_constant(run), *_no_better_than_first(run)]
    return [*found, *_worse_than_alone(run)]


def _no_better_than_constant(run: Ended) -> list[str]:
    """Return a note where the model is no better than one that does not look at the rows."""
    last, test = run.history.last(), run.test
    if test.num < _MIN_ROWS:
        return []
    if test.share == 1 or test.variance == 0:
        return _one_label(run.metrics, last, test)
    if test.kind == "numbers":
        return _no_better_than_mean(run, last)
    found = []
    accuracy, auc = last.get("accuracy", math.nan), last.get("auc", math.nan)
    noise = 1 / math.sqrt(test.num)
    if run.spec.get("class_weights"):  # such a model is meant to find rare classes
        accuracy = math.nan
    # Half of the standard error: so close, a model differs from a constant in a few rows only.
    close = math.sqrt(max(test.share * (1 - test.share), 0.0) / test.num) / 2
    if accuracy <= test.share + close:
        always = f"{test.common!r}, the commonest class" if test.common else "the commonest label"
        # To few digits, both would look alike or not as they happen to be rounded.
        compared = "no better" if accuracy <= test.share else "hardly better"
        found.append(
            f"warning: the accuracy {accuracy:.3f} is {compared} than always saying {always}: that "
            f"is right for {test.share:.3f} of the {test.num} test rows; "
            + (_ranks_hint(run, auc) if auc > 0.5 + 2 * noise else _hint(run))
        )
    elif test.kind == "classes" and auc <= 0.5 + noise:
        compared = "no better" if auc <= 0.5 else "hardly better"
        found.append(
            f"warning: the AUC {auc:.3f} is {compared} than guessing, which has 0.5, on {test.num} "
            f"test rows; {_hint(run)}"
        )
    return found


def _one_label(metrics: Sequence[str], last: Mapping[str, float], test: TestLabels) -> list[str]:
    """Return a note where any constant model is perfect, so that no value shows anything."""
    name = next((name for name in ("accuracy", "loss") if name in metrics and name in last), "")
    if not name:
        return []
    labelled = f"are of the class {test.common!r}" if test.common else "have the same label"
    return [
        f"warning: all {test.num} test rows {labelled}, which a model that says so always gets "
        f"right: so the {name} {number(last[name])} shows nothing; give test rows with other labels"
    ]


def _no_better_than_mean(run: Ended, last: Mapping[str, float]) -> list[str]:
    # The loss of a model that measures no other squared error is that error.
    squared = last.get("mse", math.nan)
    if "mse" not in run.metrics and tuple(run.metrics[:2]) == ("loss", "mae"):
        squared = last.get("loss", math.nan)
    r2 = last.get("r2", 1 - squared / run.test.variance if run.test.variance else math.nan)
    if not r2 <= 0:
        return []
    return [
        "warning: the model is no better than always predicting the mean of the labels (R2 "
        f"{r2:.3f} on {run.test.num} test rows, where the mean has 0); {_hint(run)}"
    ]


def _no_better_than_first(run: Ended) -> list[str]:
    """Return a note where no round was better than the first, by the metric and by the loss."""
    measured = [record for record in run.history if run.monitor in record.metrics]
    if len(measured) < _MIN_ROUNDS or run.is_interrupted:
        return []
    first = measured[0].metrics[run.monitor]
    if is_higher_better(run.monitor) and first >= _SATURATED:
        return []
    names = dict.fromkeys([run.monitor, "loss"])
    best = [run.history.best(name) for name in names if name in run.metrics]
    if any(record is None or record.round != measured[0].round for record in best):
        return []
    last = measured[-1].metrics[run.monitor]
    return [
        f"warning: no round was better than the first: {run.monitor} {number(first)} there, and "
        f"{number(last)} in round {measured[-1].round}; try a smaller {written('lr')}, or fewer "
        f"{written('epochs')} in a round"
    ]


def _worse_than_alone(run: Ended) -> list[str]:
    """Return a note where parties do better with a model that they trained alone."""
    kind = "personal" if run.is_personal else "fused"
    compared = _shown(run)
    alone, other = run.parties.having("alone", compared), run.parties.having(kind, compared)
    sizes = {party.id: party.num_test for party in run.parties}
    both = [party for party in other if party in alone]
    worse = [
        party for party in both if _is_worse(compared, other[party], alone[party], sizes[party])
    ]
    if not worse:
        return []
    which = "a model of their own" if run.is_personal else "the fused model"
    hint = (
        f"try another {written('personal')}, or more {written('rounds')}"
        if run.is_personal
        else f"try {written('personal', 'ditto')}, or more {written('rounds')}"
    )
    who = f"{len(worse)} of {len(both)} parties are clearly"
    if len(worse) == 1:
        who = f"1 of {len(both)} parties is clearly"
    named = f" ({', '.join(worse)})" if len(worse) <= 3 else ""
    return [f"warning: {who} worse off with {which} than alone, by {compared}{named}; {hint}"]


def _shown(run: Ended) -> str:
    """Return the metric of a model that is compared: the monitored one without its owner."""
    owners = ("central_", "alone_", "personal_")
    owner = next((owner for owner in owners if run.monitor.startswith(owner)), "")
    bare = run.monitor.removeprefix(owner)
    return bare if bare in run.metrics else "loss"


def _is_worse(metric: str, value: float, alone: float, num_test: int) -> bool:
    """Return whether a value is worse than one alone, beyond the noise of a few test rows."""
    if num_test < _MIN_PARTY_ROWS or not better(metric, alone, value):
        return False
    if not is_higher_better(metric):
        return value - alone > _MARGIN * abs(alone)
    if metric == "r2":
        return alone - value > _MARGIN
    middle = min(max((value + alone) / 2, 0.0), 1.0)
    # The rows are the same for both, so that one standard error of a share is much.
    return alone - value > max(math.sqrt(middle * (1 - middle) / num_test), 1.5 / num_test)


def _ranks_hint(run: Ended, auc: float) -> str:
    """Return what to try with a model whose scores say more than its classes."""
    or_weights = f", or {written('class_weights', 'balanced')}" if run.can_weigh else ""
    return (
        f"its scores tell classes apart (AUC {auc:.3f}): try another threshold than 0.5{or_weights}"
    )


def _hint(run: Ended) -> str:
    """Return what to try, of which the run has not done everything."""
    tries = []
    if len(run.history) < _MIN_ROUNDS * 2 and not run.spec.get("ensemble"):
        tries.append(f"more {written('rounds')}")
    tries.append(f"another {written('lr')}")
    is_rare = run.test.kind == "classes" and run.test.share > 0.6
    if is_rare and run.can_weigh and not run.spec.get("class_weights"):
        tries.append(written("class_weights", "balanced"))
    if "local" not in str(run.spec.get("baseline", "")):
        tries.append(f"{written('baseline', 'local')}, which shows if parties alone learn more")
    return f"try {', or '.join(filter(None, (', '.join(tries[:-1]), tries[-1])))}"
