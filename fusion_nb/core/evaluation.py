"""What weights are worth: measured by the parties on their own test rows, and by the aggregator on
its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fusion_nb.core import rows as rows_of
from fusion_nb.core.replies import Answers
from fusion_nb.core.types import Engine, Failure, Metrics, PartyMetrics, Weights
from fusion_nb.errors import DivergedError

#: Rounds between two measurements of what is costly to measure.
_EXAMINE_EVERY = 5


@dataclass(frozen=True)
class Measured:
    """The metrics of weights on the central test set, or else over all parties' test rows; each
    party's; who failed.
    """

    metrics: Metrics
    of_parties: PartyMetrics
    failures: tuple[Failure, ...]


class Measurer:
    """Measures the fused weights of a federation; those that it has just measured are not measured
    again.

    rows: how many rows of each test set are enough before the last round, or 0 for all;  seed:
    which ones
    """

    def __init__(
        self, parties: Sequence[Any], model: Any, test: Any, rows: int = 0, seed: int = 0
    ) -> None:
        self._parties, self._model, self._test = parties, model, test
        self._rows, self._seed = rows, seed
        self._last: tuple[Weights | None, int, Measured] = (None, 0, Measured({}, {}, ()))

    def __call__(
        self, engine: Engine, weights: Weights, round: int, quorum: float, is_last: bool
    ) -> Measured:
        """Return what is measured of the weights after a round; `quorum` is the share of parties
        that must answer.

        Raises DivergedError for a loss that is no finite number.
        """
        # What is watched changes with what parties keep, and not with the weights alone.
        rows = 0 if is_last else self._rows
        if self._last[0] is not weights or self._last[1] != rows or self._model.watched:
            examine = bool(self._model.examined) and (is_last or round % _EXAMINE_EVERY == 0)
            self._last = weights, rows, self._measure(engine, weights, round, quorum, examine, rows)
        return self._last[2]

    def _measure(
        self, engine: Engine, weights: Weights, round: int, quorum: float, examine: bool, rows: int
    ) -> Measured:
        model = self._model
        tested = [party.id for party in self._parties if party.num_test or model.watched]
        orders = {
            "weights": weights,
            "examine": examine and self._test is None,
            "rows": rows,
            "seed": self._seed,
        }
        answers = Answers(engine.run("evaluate", tested, **orders), quorum, tested, round)
        answers.drain()
        trained = {party.id: party.num_examples for party in self._parties}
        found = {name: answers.mean(name, trained) for name in model.watched}
        if self._test is not None:
            model.set_weights(weights)
            test = rows_of.some(self._test, rows, self._seed, "")
            found |= model.evaluate(test) | (model.examine(test) if examine else {})
        else:
            # Without any test row, what is watched on training rows is all there is.
            sizes = None if any(party.num_test for party in self._parties) else trained
            found = {
                name: answers.mean(name, sizes) for name in model.metrics if name not in found
            } | found
        unmeasured = {name for name in model.examined if math.isnan(found.get(name, math.nan))}
        metrics = {name: value for name, value in found.items() if name not in unmeasured}
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise DivergedError(
                f"the loss of the fused model became {metrics['loss']} in round {round}",
                "use a smaller --lr, or look at run.parties for one whose rows are extreme",
            )
        return Measured(metrics, answers.metrics, tuple(answers.failures))
