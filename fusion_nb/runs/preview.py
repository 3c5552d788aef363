"""A look before training: who would hold what, what there is to warn of, and what the run would
cost.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from fusion_nb.algorithms.baselines import num_steps
from fusion_nb.core import arithmetic
from fusion_nb.core import rows as rows_of
from fusion_nb.core.federation import Federation
from fusion_nb.data.partition import Division
from fusion_nb.engines.progress import Watched
from fusion_nb.reporting import charts
from fusion_nb.reporting.result import count_bytes
from fusion_nb.runs.build import build, divide, settled
from fusion_nb.runs.spec import RunSpec

#: Batches of the probe beyond its first one.
_PROBED = 4
#: Rows that the probe measures a model on.
_MEASURED = 256


@dataclass(frozen=True)
class Cost:
    """What a run would take; None where it can't be known before parties have agreed on a
    vocabulary.

    rows, steps: training rows and batches that all parties go through in all rounds
    seconds:     an estimate, from a few batches that were tried
    bytes_each:  weights that one party sends in a round;  bytes_all: all that travels, up and down
    """

    rows: int
    steps: int | None
    seconds: float | None
    bytes_each: int | None
    bytes_all: int | None

    def __str__(self) -> str:
        parts = [
            f"{self.rows:,} rows to train on"
            + (f" in {self.steps:,} batches" if self.steps is not None else "")
        ]
        if self.seconds is not None:
            parts.append(f"about {duration(self.seconds)} on this machine")
        if self.bytes_each is not None and self.bytes_all is not None:
            each, every = count_bytes(self.bytes_each), count_bytes(self.bytes_all)
            parts.append(
                f"each party sends {each} of weights in a round; {every} in all, up and down"
            )
        return "; ".join(parts)


@dataclass(frozen=True)
class Preview:
    """What `look` found: the split as a picture, what the user should know as sentences, and the
    cost.
    """

    chart: charts.Chart
    notes: list[str]
    cost: Cost


def look(spec: RunSpec, namespace: Mapping[str, Any]) -> Preview:
    """Return what a run of this spec would be, checked as a run is, and without training it.

    Raises a FusionError for the first thing that doesn't fit.
    """
    spec = settled(spec)
    division = divide(spec, namespace)
    federation = build(spec, namespace, division)
    return Preview(split_chart(division), division.notes, cost(federation, spec.rounds))


def split_chart(division: Division) -> charts.Chart:
    """Draw parties by labels, and how many rows each party has."""
    counts = division.label_counts(with_test=True)
    names = {label: division.class_name(label) for row in counts.values() for label in row}
    return charts.split(counts, division.sizes(), names)


def cost(federation: Federation, rounds: int) -> Cost:
    """Return what so many rounds of a federation would cost; a few batches are tried for it on a
    copy of the model.
    """
    turns = Counter(party for round in range(1, rounds + 1) for party in federation.cohort(round))
    orders, parties = federation.orders, {party.id: party for party in federation.parties}
    in_steps = "local_steps" in federation.model.orders
    steps = (
        sum(num_steps(federation, [party]) * count for party, count in turns.items())
        if in_steps
        else None
    )
    if "steps" in orders:
        rows = (steps or 0) * int(orders["batch_size"])
    else:
        rows = sum(
            parties[party].num_examples * int(orders["epochs"]) * count
            for party, count in turns.items()
        )
    if hasattr(federation.model, "collect"):
        return Cost(rows, steps, None, None, None)
    each = arithmetic.num_bytes(federation.model.single.get_weights())
    seconds = None if steps is None else _seconds(federation, rounds, steps, turns.total())
    return Cost(rows, steps, seconds, each, 2 * each * turns.total())


def _seconds(federation: Federation, rounds: int, steps: int, num_turns: int) -> float:
    """Return the time of training and measuring, from a few batches and rows that are tried."""
    party, model = federation.parties[0], federation.model.single.clone()
    orders = {**federation.orders, "seed": federation.seed}

    def fit(count: int) -> float:
        started = time.perf_counter()
        model.fit(party.train, **orders | {"steps": count})
        return time.perf_counter() - started

    cohort = len(federation.cohort(1))
    width = getattr(cast(Watched, federation.engine).innermost, "width", lambda *_: 1)(
        federation.model, cohort
    )
    with model.on_one_core() if width > 1 else nullcontext():
        fit(1)  # the first one pays for what is set up once
        # The least of several, since whatever else the machine does only adds to it.
        one, several = (min(fit(count) for _ in range(3)) for count in (1, 1 + _PROBED))
    step = max(several - one, 0.0) / _PROBED
    tests = [p.test for p in federation.parties if p.num_test] or [federation.test]
    few = rows_of.take(tests[0], np.arange(min(_MEASURED, rows_of.size(tests[0]))))
    model.evaluate(few)
    started = time.perf_counter()
    model.evaluate(few)
    row = (time.perf_counter() - started) / rows_of.size(few)
    # A round measures each party's model before fusion, and the fused one, on its own rows; and on
    # the central ones.
    most = federation.evaluate_rows or math.inf
    own = sum(min(p.num_test, most) for p in federation.parties)
    central = 0 if federation.test is None else min(rows_of.size(federation.test), most)
    training = (
        (step * steps + max(one - step, 0.0) * num_turns) * (1 + len(federation.beside)) / width
    )
    return training + row * (2 * own / width + central) * rounds / federation.evaluate_every


def duration(seconds: float) -> str:
    """Return a time in words, as exact as anybody wants to know it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
