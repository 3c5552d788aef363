"""The rounds of a run as a list with columns."""

from __future__ import annotations

import itertools
import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from fusion_nb.core.clock.trips import trips_from_json, trips_to_json
from fusion_nb.core.files.encodable import encodable
from fusion_nb.core.types import Failure, Metrics, RoundRecord
from fusion_nb.errors import OptionError, nearest

Value = TypeVar("Value")
#: Held while a value over rounds is brought up to date: the training and a cell may ask at once.
_LOCK = threading.Lock()
#: Metrics that are better when higher; all others (losses and errors) are better when lower.
HIGHER_IS_BETTER = {
    *("accuracy", "self_rank", "auc", "average_precision", "balanced_accuracy"),
    *("f1", "precision", "recall", "r2"),
}
#: The beginnings of names that say of what a metric is: `recall_cat`, `f1_micro`, `top_5`.
_HIGHER_BEGINNINGS = ("auc_", "average_precision_", "f1_", "precision_", "recall_", "top_")
#: Whose metric it is, before the name of the metric.
OWNERS = ("alone_", "central_", "local_", "personal_", "train_")
#: Metrics that runs measured -> whether they are better when higher, whatever their names suggest.
_DECLARED: dict[str, bool] = {}


def declare_directions(metrics: Mapping[str, bool]) -> None:
    """Declare of metrics, such as the user's own, whether each is better when higher.

    The latest declaration of a name holds.
    """
    _DECLARED.update(metrics)


def is_higher_better(metric: str) -> bool:
    """Return whether a metric is better when higher: `accuracy`, and so `central_accuracy`."""
    owner = next((owner for owner in OWNERS if metric.startswith(owner)), "")
    bare = metric.removeprefix(owner)
    for name in (metric, bare):
        if name in _DECLARED:
            return _DECLARED[name]
    # A Keras model of several outputs has `mask_accuracy`.
    names = (bare, metric.partition("_")[2])
    return any(name in HIGHER_IS_BETTER for name in names) or bare.startswith(_HIGHER_BEGINNINGS)


def better(metric: str, a: float, b: float) -> bool:
    """Return whether the value `a` of a metric is better than `b`. NaN is never better."""
    if math.isnan(a):
        return False
    return math.isnan(b) or (a > b if is_higher_better(metric) else a < b)


class _Running(Generic[Value]):
    """A value over the rounds of a history, brought up to date with those that came since.

    So a round costs the same, however many are behind it.
    first: the value without a round;  add: returns the value with one more, perhaps in place
    """

    def __init__(self, first: Value, add: Callable[[Value, RoundRecord], Value]) -> None:
        self._value, self._add = first, add
        self._count = 0
        self._last: RoundRecord | None = None

    def follows(self, history: History) -> bool:
        """Return whether a history begins with the rounds that are in the value."""
        count = self._count
        return count == 0 or (count <= len(history) and history[count - 1] is self._last)

    def of(self, history: History) -> Value:
        """Return the value over all rounds of a history that it follows."""
        for number in range(self._count, len(history)):
            record: RoundRecord = history[number]
            self._value = self._add(self._value, record)
            self._count, self._last = number + 1, record
        return self._value


class History(list[RoundRecord]):
    """A list of RoundRecords with columns.

    `history["accuracy"]` holds one value for each round, NaN where it was not measured.

    >>> record = RoundRecord(1, {"loss": 0.5}, {}, ("party 1",), 0.1, 400, 400)
    >>> History([record])["loss"]
    [0.5]
    """

    def __init__(self, records: Iterable[RoundRecord] = ()) -> None:
        super().__init__(records)
        self._running: dict[str, _Running[Any]] = {}

    def __reduce__(self) -> Any:
        return History, (list(self),)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self._running = {}

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if self and key not in self.metrics():
                raise OptionError(
                    f"no metric {key!r} in this history",
                    f"{nearest(key, self.metrics())}there are: {', '.join(self.metrics())}",
                )
            return [record.metrics.get(key, math.nan) for record in self]
        found = super().__getitem__(key)
        return History(found) if isinstance(key, slice) else found

    def metrics(self) -> list[str]:
        """Return the names of the fused model's metrics, in order of their first appearance."""
        names: list[str] = self._over("metrics", dict, _with_names, list)
        return names

    def party(self, party: str, metric: str) -> list[float]:
        """Return one party's metric for each round, NaN in rounds without it."""
        return [record.party_metrics.get(party, {}).get(metric, math.nan) for record in self]

    def latest(self) -> dict[str, Metrics]:
        """Return each party's metrics, each from the last round that has it."""

        def copied(found: dict[str, Metrics]) -> dict[str, Metrics]:
            return {party: dict(metrics) for party, metrics in found.items()}

        latest: dict[str, Metrics] = self._over("latest", dict, _with_party_metrics, copied)
        return latest

    def last(self) -> Metrics:
        """Return the fused model's metrics, each from the last round that measured it."""
        last: Metrics = self._over("last", dict, _with_metrics, dict)
        return last

    def best(self, metric: str) -> RoundRecord | None:
        """Return the first round with the best value of a metric, or None without any value."""

        def add(best: RoundRecord | None, record: RoundRecord) -> RoundRecord | None:
            if metric not in record.metrics:
                return best
            if best is None or better(metric, record.metrics[metric], best.metrics[metric]):
                return record
            return best

        found: RoundRecord | None = self._over(
            f"best {metric}", lambda: None, add, lambda best: best
        )
        return found

    def reached(self, metric: str, value: float) -> RoundRecord | None:
        """Return the first round whose metric is at least as good as a value, or None.

        Its `metrics["virtual_seconds"]` is the simulated time that this took.
        """
        values = self[metric] if metric in self.metrics() else []
        found = (i for i, each in enumerate(values) if each == value or better(metric, each, value))
        place = next(found, None)
        return None if place is None else super().__getitem__(place)

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dictionary for each round, with its metrics and its costs."""
        names = self.metrics()
        return [
            {
                "round": record.round,
                **{name: record.metrics.get(name, math.nan) for name in names},
                "parties": len({*record.cohort} - {failure.party for failure in record.failures}),
                "failures": len(record.failures),
                "seconds": record.seconds,
                "bytes_up": record.bytes_up,
                "bytes_down": record.bytes_down,
                "bytes_fedavg": record.bytes_fedavg,
                "silent": len(record.silent),
                "changes": ", ".join(f"{name} {value}" for name, value in record.changes.items()),
            }
            for record in self
        ]

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row for each round, indexed by round."""
        import pandas as pd

        columns = [
            "round",
            *self.metrics(),
            "parties",
            "failures",
            "seconds",
            "bytes_up",
            "bytes_down",
        ]
        columns += ["bytes_fedavg", "silent", "changes"]
        rows = [{name: encodable(value) for name, value in row.items()} for row in self.rows()]
        return pd.DataFrame(rows, columns=columns).set_index("round")

    def seconds(self) -> float:
        """Return how long all rounds took together, in seconds."""
        total: float = self._over("seconds", float, lambda sum_, r: sum_ + r.seconds, float)
        return total

    def bytes_sent(self) -> list[int]:
        """Return, for each round, the bytes that were sent until its end, up and down."""
        return list(itertools.accumulate(record.bytes_up + record.bytes_down for record in self))

    def _over(
        self,
        name: str,
        first: Callable[[], Any],
        add: Callable[[Any, RoundRecord], Any],
        copied: Callable[[Any], Any],
    ) -> Any:
        """Return a copy of a value over all rounds, which is kept for the rounds to come."""
        with _LOCK:
            running = self._running.get(name)
            if running is None or not running.follows(self):
                running = self._running[name] = _Running(first(), add)
            return copied(running.of(self))

    def to_json(self) -> str:
        """Return all rounds as a JSON list; numbers that are not finite become null."""
        # One after the other: other threads go on between two of many rounds.
        rounds = (json.dumps(to_dict(record), allow_nan=False) for record in self)
        return f"[{', '.join(rounds)}]"


def _with_names(found: dict[str, None], record: RoundRecord) -> dict[str, None]:
    found.update(dict.fromkeys(record.metrics))
    return found


def _with_metrics(found: Metrics, record: RoundRecord) -> Metrics:
    found.update(record.metrics)
    return found


def _with_party_metrics(found: dict[str, Metrics], record: RoundRecord) -> dict[str, Metrics]:
    for party, metrics in record.party_metrics.items():
        found.setdefault(party, {}).update(metrics)
    return found


def to_dict(record: RoundRecord) -> dict[str, Any]:
    """Return a record as values that JSON can hold; numbers that are not finite become None."""
    # Field by field: a copy of all that is in a record would take ten times as long.
    return {
        "round": record.round,
        "metrics": _finite(record.metrics),
        "party_metrics": {
            party: _finite(metrics) for party, metrics in record.party_metrics.items()
        },
        "cohort": record.cohort,
        "seconds": record.seconds,
        "bytes_up": record.bytes_up,
        "bytes_down": record.bytes_down,
        "failures": [{"party": f.party, "error": f.error} for f in record.failures],
        "silent": record.silent,
        "bytes_fedavg": record.bytes_fedavg,
        "changes": dict(record.changes),
        **({"trips": trips_to_json(record.trips)} if record.trips else {}),
    }


def from_dict(found: Mapping[str, Any]) -> RoundRecord:
    """Return the record that `to_dict` made these values from; None becomes NaN."""
    return RoundRecord(
        **{
            **found,
            "metrics": _numbers(found["metrics"]),
            "party_metrics": {
                party: _numbers(metrics) for party, metrics in found["party_metrics"].items()
            },
            "cohort": tuple(found["cohort"]),
            "failures": tuple(Failure(**failure) for failure in found["failures"]),
            "silent": tuple(found["silent"]),
            "trips": trips_from_json(found.get("trips", {})),
        }
    )


def _numbers(metrics: Mapping[str, float | None]) -> Metrics:
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
