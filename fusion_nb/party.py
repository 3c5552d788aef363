"""A party: who it is, the rows that never leave it, and what it answers to each verb."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fusion_nb import data, seeds
from fusion_nb import weights as arithmetic
from fusion_nb.errors import DivergedError, Stopped
from fusion_nb.types import Failure, Metrics, Reply, Update, Verb, Weights


@dataclass
class Party:
    """One holder of data. `test` is None when it has no test rows of its own.

    The model is lent for the length of one verb and belongs to the worker, so a thousand parties need one model.
    What a party must remember between rounds, it keeps in `state`, which never leaves it.
    """

    id: str
    train: Any
    test: Any = None
    state: dict[str, Any] = field(default_factory=dict)
    #: The round that `state` is of, and the state before it.
    _round: int = field(default=0, repr=False)
    _before: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def num_examples(self) -> int:
        """The number of training rows."""
        return data.size(self.train)

    @property
    def num_test(self) -> int:
        """The number of test rows that are its own."""
        return 0 if self.test is None else data.size(self.test)

    def answer(self, verb: Verb, model: Any, **orders: Any) -> Reply:
        """Return the answer to a verb; an exception becomes a Failure with its traceback, a stop passes through."""
        verbs: dict[str, Callable[..., Update]] = {
            "collect": self.collect,
            "prepare": self.prepare,
            "fit": self.fit,
            "evaluate": self.evaluate,
        }
        try:
            return verbs[verb](model, **orders)
        except Stopped:
            raise
        except Exception as error:
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            return Failure(self.id, line, traceback.format_exc(), error)

    def collect(self, model: Any, **orders: Any) -> Update:
        """Tell the aggregator what it needs to agree on the model before round 1 (word counts, never documents)."""
        return Update(self.id, {}, self.num_examples, extras=model.collect(self.train, **orders))

    def prepare(self, model: Any, **orders: Any) -> Update:
        """Take over what was agreed upon before round 1."""
        model.prepare(self.train, self.state, **orders)
        return Update(self.id, {}, self.num_examples)

    def fit(self, model: Any, *, weights: Weights, seed: int, round: int, local: dict[str, Any]) -> Update:
        """Train from the given weights on its own rows; report the loss, and the trained model on its own test rows.

        A round that is asked for again, since it did not become whole, starts from the same state.
        """
        if round != self._round:
            self._round, self._before = round, self.state
        self.state, state = self._before, dict(self._before)
        model.set_weights(weights)
        fitted = model.fit(self.train, seed=seeds.number(seed, "fit", round, self.id), state=state, **local)
        self._check("training", fitted["loss"], round)
        metrics = {f"train_{name}": value for name, value in fitted.items()}
        if self.num_test:
            measured = model.evaluate(self.test)
            self._check("test", measured["loss"], round)
            metrics |= {f"local_{name}": value for name, value in measured.items()}
        trained: Weights = model.get_weights()
        # Where the aggregator will refuse the weights, what led to them is no use.
        if state and not arithmetic.misfit(trained, weights):
            self.state = state
        return Update(self.id, trained, self.num_examples, metrics)

    def evaluate(self, model: Any, *, weights: Weights, examine: bool = False) -> Update:
        """Measure the given weights on its own test rows, and watch what they make of its own training rows.

        examine: measure what is costly too. `num_examples` is how many test rows there are.
        """
        metrics: Metrics = {}
        if self.num_test or model.watched:
            model.set_weights(weights)
        if model.watched:
            metrics |= model.watch(self.train, self.state)
        if self.num_test:
            metrics |= model.evaluate(self.test)
            metrics |= model.examine(self.test) if examine else {}
        return Update(self.id, {}, self.num_test, metrics)

    def _check(self, which: str, loss: float, round: int) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"the {which} loss of {self.id} became {loss} in round {round}",
                "use a smaller --lr, or look for extreme values in this party's rows",
            )
