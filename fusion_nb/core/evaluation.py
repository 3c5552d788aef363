"""Evaluation of the fused weights, by the parties and by the aggregator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fusion_nb.core import rows as rows_of
from fusion_nb.core.contracts import evaluate
from fusion_nb.core.counts import over_rows
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Model
from fusion_nb.core.replies import RoundReplies
from fusion_nb.core.types import (
    Ask,
    EvaluateRequest,
    Failure,
    Metrics,
    PartyMetrics,
    Weights,
)
from fusion_nb.errors import DivergedError, option

#: Rounds between two evaluations of costly metrics.
_COSTLY_EVERY = 5


@dataclass(frozen=True)
class Evaluation:
    """The metrics of weights: of the fused model, and of each party.

    metrics: on the central test set, or else over all parties' test rows
    """

    metrics: Metrics
    party_metrics: PartyMetrics
    failures: tuple[Failure, ...]


class Evaluator:
    """Evaluates the fused weights of a federation, and caches the last result.

    test:     the aggregator's own test set, or None;  quorum: share of parties that must answer
    num_rows: test rows of each set that are used before the last round, or 0 for all;  seed: which
    """

    def __init__(
        self,
        parties: Sequence[Party],
        model: Model,
        test: Any,
        *,
        quorum: float = 1.0,
        num_rows: int = 0,
        seed: int = 0,
    ) -> None:
        self._parties, self._model, self._test = parties, model, test
        self._quorum, self._num_rows, self._seed = quorum, num_rows, seed
        self._last: tuple[Weights | None, int, Evaluation] = (None, 0, Evaluation({}, {}, ()))

    def evaluate(
        self,
        ask: Ask,
        weights: Weights,
        round: int,
        is_last: bool,
        busy: frozenset[str] = frozenset(),
    ) -> Evaluation:
        """Return the metrics of the weights after a round.

        busy: parties that still train, and are not asked; the metrics are those of the others
        Raises DivergedError for a loss that is not a finite number.
        """
        num_rows = 0 if is_last else self._num_rows
        last_weights, last_rows, last = self._last
        # Training metrics change with the parties' own state, and not with the weights only.
        if last_weights is weights and last_rows == num_rows and not self._model.train_metrics:
            return last
        costly = bool(self._model.costly_metrics) and (is_last or round % _COSTLY_EVERY == 0)
        asked = [
            party.id
            for party in self._parties
            if (party.num_test or self._model.train_metrics) and party.id not in busy
        ]
        found = self._evaluate(ask, asked, weights, round, costly, num_rows, is_part=bool(busy))
        if not busy:
            self._last = weights, num_rows, found
        return found

    def _evaluate(
        self,
        ask: Ask,
        asked: Sequence[str],
        weights: Weights,
        round: int,
        costly: bool,
        num_rows: int,
        *,
        is_part: bool,
    ) -> Evaluation:
        """Return the metrics over the parties that are asked.

        is_part: others still train. Of a part any number may fail; where all do, nothing is
                 measured.
        """
        model = self._model
        request = EvaluateRequest(weights, costly and self._test is None, num_rows, self._seed)
        quorum = 0.0 if is_part else self._quorum
        replies = RoundReplies(ask(request, asked), asked, round=round, quorum=quorum)
        replies.drain()
        if is_part and not replies.metrics and self._test is None:
            return Evaluation({}, {}, tuple(replies.failures))
        train_sizes = {party.id: party.num_examples for party in self._parties}
        found = {name: replies.mean(name, train_sizes) for name in model.train_metrics}
        if self._test is not None:
            model.set_weights(weights)
            test = rows_of.some(self._test, num_rows, self._seed, "")
            found |= evaluate(model, test) | (model.evaluate_costly(test) if costly else {})
        else:
            # Without any test row, metrics on training rows are all there is.
            sizes = None if any(party.num_test for party in self._parties) else train_sizes
            found = {
                name: replies.over_rows(model, name, sizes)
                for name in model.metrics
                if name not in found
            } | found
        optional = (*model.costly_metrics, *model.added_metrics)
        missing = {name for name in optional if math.isnan(found.get(name, math.nan))}
        metrics = {name: value for name, value in found.items() if name not in missing}
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise DivergedError(
                f"the loss of the fused model became {metrics['loss']} in round {round}",
                f"use a smaller {option('lr')}, or look at run.parties for one whose rows are "
                "extreme",
            )
        return Evaluation(metrics, replies.metrics, tuple(replies.failures))


def personal_means(
    latest: dict[str, Metrics], party_metrics: PartyMetrics, parties: Sequence[Party], model: Model
) -> Metrics:
    """Return the means over all parties' test rows of the metrics of their own models.

    Each party counts with its last measurement: in `party_metrics`, or in `latest`.
    """
    add_metrics(latest, party_metrics)
    sizes = {party.id: party.num_measured(model.ignored_label) for party in parties}
    means = {
        f"personal_{name}": over_rows(model, latest, sizes, name, "personal_")
        for name in model.metrics
    }
    return {name: mean for name, mean in means.items() if math.isfinite(mean)}


def add_metrics(party_metrics: dict[str, Metrics], found: PartyMetrics) -> None:
    """Add further metrics of parties to those that there are."""
    for party, metrics in found.items():
        party_metrics.setdefault(party, {}).update(metrics)
