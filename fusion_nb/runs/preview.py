"""A preview of a run before training: the split, the notes, and the estimated cost."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.algorithms.baselines import num_steps
from fusion_nb.algorithms.compressions.compressed import Compressed
from fusion_nb.core import arithmetic
from fusion_nb.core import rows as rows_of
from fusion_nb.core.clock.pace import Forecast
from fusion_nb.core.federation import Federation
from fusion_nb.core.protocols import NeedsAgreement
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import FusionError
from fusion_nb.reporting import charts
from fusion_nb.reporting.formatting import count_bytes, duration
from fusion_nb.reporting.simulated_time import span
from fusion_nb.runs.build import Prepared, divide, prepare
from fusion_nb.runs.resolve import with_default_rounds
from fusion_nb.runs.spec import RunSpec

#: Batches that are tried beyond the first one.
_NUM_TRIED_BATCHES = 4
#: Rounds that are tried where they are short: at most this number, in about this time in seconds.
_NUM_TRIED_ROUNDS, _TRIED_SECONDS = 6, 1.5
#: Rows that the model is measured on.
_NUM_TRIED_ROWS = 256


@dataclass(frozen=True)
class Cost:
    """The cost of a run; None where it can't be known before parties have agreed on a vocabulary.

    rows, steps: training rows and batches of all parties in all rounds
    seconds:     an estimate, from a few rounds that were tried, or of long ones a few batches
    bytes_each:  weights that one party sends in a round;  bytes_all: everything up and down
    simulated:   what it would take on the simulated clock; None without one
    """

    rows: int
    steps: int | None
    seconds: float | None
    bytes_each: int | None
    bytes_all: int | None
    simulated: Forecast | None = None

    def __str__(self) -> str:
        batches = f" in {self.steps:,} batches" if self.steps is not None else ""
        parts = [f"{self.rows:,} rows to train on{batches}"]
        if self.seconds is not None:
            parts.append(f"about {duration(self.seconds)} on this machine")
        if self.bytes_each is not None and self.bytes_all is not None:
            each, total = count_bytes(self.bytes_each), count_bytes(self.bytes_all)
            parts.append(
                f"each party sends {each} of weights in a round; {total} in all, up and down"
            )
        if self.simulated is not None:
            late = f", {self.simulated.late:,} of {self.simulated.asked:,} updates too late"
            took = f"{span(self.simulated.seconds)} of simulated time"
            parts.append(took + (late if self.simulated.late else ""))
        return "; ".join(parts)


@dataclass(frozen=True)
class Preview:
    """The split as a chart, notes for the user as sentences, and the cost."""

    chart: charts.Chart
    notes: Sequence[str]
    cost: Cost


def look(spec: RunSpec, namespace: Mapping[str, Any]) -> Preview:
    """Return a preview of the run of a spec, which is checked as a run is, and not trained.

    Raises the FusionError of the first rule that is broken.
    """
    spec = with_default_rounds(spec, namespace)
    data = divide(spec, namespace)
    prepared = prepare(spec, namespace, data)
    return Preview(
        split_chart(data),
        [f"data: {data.schema.describe()}", *data.skew_notes(spec.seed), *prepared.notes],
        cost(prepared),
    )


def split_chart(data: PartitionedData) -> charts.Chart:
    """Draw parties by labels, and how many rows each party has."""
    counts = data.label_counts(with_test=True)
    names = {label: data.class_name(label) for row in counts.values() for label in row}
    return charts.split(counts, data.sizes(), names)


def cost(prepared: Prepared) -> Cost:
    """Return the cost of a run; a few batches are tried, and short rounds too, on copies.

    The federation has trained some rounds after that, and is good for nothing else.
    """
    federation, rounds = prepared.federation, prepared.resolved.spec.rounds
    tasks = Counter(party for round in range(1, rounds + 1) for party in federation.cohort(round))
    model, options = federation.model, federation.train_options
    steps = None
    if "local_steps" in model.supported_options:
        steps = sum(num_steps(federation, [party]) * count for party, count in tasks.items())
    if "steps" in options:
        rows = (steps or 0) * int(options["batch_size"])
    else:
        sizes = {party.id: party.num_at_once for party in federation.parties}
        rows = sum(sizes[party] * int(options["epochs"]) * count for party, count in tasks.items())
    if isinstance(model, NeedsAgreement):
        return Cost(rows, steps, None, None, None)
    each = arithmetic.num_bytes(model.single_model.get_weights())
    simulated = federation.pace.forecast(rounds)  # before rounds are tried
    seconds = None if steps is None else _seconds(prepared, steps, tasks.total())
    if seconds is not None and seconds / rounds < _TRIED_SECONDS / 2:
        seconds = _tried_rounds(prepared) or seconds
    up, down = _encoded(federation, each)
    sent = up * (tasks.total() - (simulated.late if simulated else 0)) + down * tasks.total()
    return Cost(rows, steps, seconds, up, sent, simulated)


def _encoded(federation: Federation, size: int) -> tuple[int, int]:
    """Return the bytes that a party sends and receives in a round, for weights of a size."""
    rule, state = federation.fusion, federation.state
    if not isinstance(rule, Compressed) or state is None:
        return size, size
    up = rule.bytes_up(state.weights, state.fusion_state)
    return up, up if rule.compression.down else size


def _seconds(prepared: Prepared, steps: int, num_tasks: int) -> float:
    """Return the estimated time of training and evaluation."""
    federation, test = prepared.federation, prepared.resolved.test
    model = federation.model.single_model.clone()
    width = federation.network.engine.width(federation.model, len(federation.cohort(1)))
    with model.single_threaded() if width > 1 else nullcontext():
        start, step = _batch_seconds(federation, model)
    training = (step * steps + start * num_tasks) * (1 + len(federation.baselines)) / width
    # A round measures each party's model before fusion and the fused one on its own rows, and the
    # fused one on the central rows.
    config = federation.config
    most = config.evaluate_rows or math.inf
    rows = next((party.test for party in federation.parties if party.num_test), test)
    own = sum(min(party.num_test, most) for party in federation.parties)
    central = 0 if test is None else min(rows_of.size(test), most)
    per_round = _row_seconds(rows, model) * (2 * own / width + central)
    num_evaluations = prepared.resolved.spec.rounds / config.evaluate_every
    return training + per_round * num_evaluations


def _tried_rounds(prepared: Prepared) -> float | None:
    """Return the estimated time of all rounds from the first of them, or None where that fails.

    Most of a short round is not training: weights travel, and are averaged and checked.
    """
    federation, rounds = prepared.federation, prepared.resolved.spec.rounds
    if federation.config.evaluate_every > 1:
        return None  # rounds differ
    seconds: list[float] = []
    try:
        for record in federation.rounds(min(rounds, _NUM_TRIED_ROUNDS)):
            seconds.append(record.seconds)
            if sum(seconds) > _TRIED_SECONDS:
                break
    except FusionError:  # a party that fails, say: the run will tell it
        return None
    finally:
        federation.close()
    first, *others = seconds  # the first one sets up what the others use
    return first + (rounds - 1) * statistics.median(others or [first])


def _batch_seconds(federation: Federation, model: Any) -> tuple[float, float]:
    """Return the time of beginning a party's training, and that of each of its batches."""
    rows = federation.parties[0].train
    options = {**federation.train_options, "seed": federation.config.seed}

    def fit(count: int) -> float:
        started = time.perf_counter()
        model.fit(rows, **options | {"steps": count})
        return time.perf_counter() - started

    fit(1)  # the first one includes what is set up once
    # The least of several, since other processes only add to it.
    one, several = (min(fit(count) for _ in range(3)) for count in (1, 1 + _NUM_TRIED_BATCHES))
    step = max(several - one, 0.0) / _NUM_TRIED_BATCHES
    return max(one - step, 0.0), step


def _row_seconds(rows: Any, model: Any) -> float:
    """Return the time of evaluating a row."""
    few = rows_of.take(rows, np.arange(min(_NUM_TRIED_ROWS, rows_of.size(rows))))
    model.evaluate(few)
    started = time.perf_counter()
    model.evaluate(few)
    return (time.perf_counter() - started) / rows_of.size(few)
