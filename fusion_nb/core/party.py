"""A party: who it is, the rows that never leave it, and what it answers to each verb."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from fusion_nb.core import arithmetic, seeds
from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import (
    Failure,
    Metrics,
    Reply,
    Trained,
    Turn,
    Unchanged,
    Update,
    Verb,
    Weights,
)
from fusion_nb.errors import DivergedError, Stopped


@dataclass
class Party:
    """One holder of data. `test` is None when it has no test rows of its own.

    The model is lent for the length of one verb and belongs to the worker, so a thousand parties
    need one model. What a party must remember between rounds, it keeps in `state`, which never
    leaves it.
    """

    id: str
    train: Any
    test: Any = None
    state: dict[str, Any] = field(default_factory=dict)
    #: The round that `state` is of, and the state before it.
    _round: int = field(default=-1, repr=False)
    _before: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def num_examples(self) -> int:
        """The number of training rows."""
        return rows_of.size(self.train)

    @property
    def num_test(self) -> int:
        """The number of test rows that are its own."""
        return 0 if self.test is None else rows_of.size(self.test)

    @property
    def memory(self) -> Any:
        """What it remembers of its rounds, to go on elsewhere; None where that is nothing."""
        return (self.state, self._round, self._before) if self.state or self._before else None

    @memory.setter
    def memory(self, found: Any) -> None:
        self.state, self._round, self._before = found or ({}, self._round, {})

    def answer(self, verb: Verb, model: Any, **orders: Any) -> Reply:
        """Return the answer to a verb; an exception becomes a Failure with its traceback, a stop
        passes through.
        """
        verbs: dict[str, Callable[..., Reply]] = {
            "collect": self.collect,
            "prepare": self.prepare,
            "fit": self.fit,
            "send": self.send,
            "adopt": self.adopt,
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
        """Tell the aggregator what it needs to agree on the model before round 1 (word counts,
        never documents).
        """
        return Update(self.id, {}, self.num_examples, extras=model.collect(self.train, **orders))

    def prepare(self, model: Any, **orders: Any) -> Update:
        """Take over what was agreed upon before round 1."""
        model.prepare(self.train, self.state, **orders)
        return Update(self.id, {}, self.num_examples)

    def fit(
        self,
        model: Any,
        *,
        weights: Weights,
        seed: int,
        round: int,
        local: Mapping[str, Any],
        received: Mapping[str, Any] = MappingProxyType({}),
        each: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        train: Callable[[Turn], Reply] | None = None,
        is_measured: bool = True,
        rows: int = 0,
        since: int = 0,
    ) -> Reply:
        """Train from the given weights on its own rows; report the loss, and the trained model on
        its own test rows.

        local: options of the model's training;  each: those in which some parties, by id, differ
        train: the party's side of the fusion, if it has one
        is_measured, rows: whether to measure on its own test rows, and on how many at most, or 0
        for all
        since: the first round of this fusion; what the party kept for one before it is dropped
        A round that is asked for again, since it did not become whole, starts from the same state.
        """
        if round != self._round:
            self._round, self._before = round, self.state
        self.state, state = self._before, dict(self._before)
        test = (
            rows_of.some(self.test, rows, seed, self.id) if self.num_test and is_measured else None
        )
        trainings = _Trainings(
            self, model, state, {**local, **each.get(self.id, {})}, seed, round, test
        )
        kept = dict(state.get("fusion", {})) if state.get("since", 0) == since else {}
        turn = Turn(
            *(self.id, round, weights, received, kept, self.num_examples, self.num_test),
            *(trainings.train, trainings.measure, trainings.score),
        )
        reply = train(turn) if train else turn.update(turn.train(weights).weights)
        if kept:
            state["fusion"] = kept
        elif since:
            state.pop("fusion", None)
        if since:
            state["since"] = since
        sent = reply.weights if isinstance(reply, Update) else trainings.last
        # Where the aggregator will refuse the weights, what led to them is no use.
        is_kept = bool(state) or isinstance(reply, Unchanged)
        if is_kept and (problem := arithmetic.misfit(sent, weights, part=True)):
            if isinstance(reply, Unchanged):
                raise DivergedError(
                    f"the weights of {self.id} in round {round}: {problem}", "use a smaller --lr"
                )
        elif state:
            self.state = state
        return (
            reply
            if isinstance(reply, Failure)
            else replace(reply, metrics={**trainings.metrics, **reply.metrics})
        )

    def send(self, model: Any) -> Update:
        """Send the weights that it kept while it trained on its own."""
        return Update(self.id, self.state["fusion"]["weights"], self.num_examples)

    def adopt(self, model: Any, *, weights: Weights) -> Unchanged:
        """Go on from these weights, and not from those that it kept."""
        self.state = self.state | {"fusion": self.state["fusion"] | {"weights": weights}}
        return Unchanged(self.id, self.num_examples)

    def evaluate(
        self, model: Any, *, weights: Weights, examine: bool = False, rows: int = 0, seed: int = 0
    ) -> Update:
        """Measure the given weights on its own test rows, and watch what they make of its own
        training rows.

        Layers that the party keeps to itself stand in for those of the weights.
        examine: measure what is costly too;  rows: at most so many of its test rows, always the
                                              same ones, or 0 for all
        `num_examples` is how many test rows there are.
        """
        metrics: Metrics = {}
        layers = self.state.get("fusion", {}).get("layers", {})
        if self.num_test or model.watched:
            model.set_weights(weights | layers)
        if model.watched:
            metrics |= model.watch(self.train, self.state)
        if self.num_test:
            test = rows_of.some(self.test, rows, seed, self.id)
            metrics |= model.evaluate(test) | (model.examine(test) if examine else {})
        if layers:
            metrics |= {f"personal_{name}": value for name, value in metrics.items()}
        return Update(self.id, {}, self.num_test, metrics)

    def personal(self, fused: Weights, round: int) -> Weights | None:
        """Return the weights of the party's own model as of a whole round, or None where it has
        none.
        """
        kept = (self._before if self._round > round else self.state).get("fusion", {})
        if "layers" in kept:
            return fused | dict(kept["layers"])
        own: Weights | None = kept.get("personal")
        return own

    def check(self, which: str, loss: float, round: int) -> None:
        """Raise DivergedError for a loss that is no finite number."""
        if not math.isfinite(loss):
            when = f"in round {round}" if round else "after the last round"
            raise DivergedError(
                f"the {which} loss of {self.id} became {loss} {when}",
                "use a smaller --lr, or look for extreme values in this party's rows",
            )


class _Trainings:
    """The trainings of one party in one round, with the one model that is lent to it.

    `metrics` are those of the training without a name, `last` the weights of the latest.
    """

    def __init__(
        self,
        party: Party,
        model: Any,
        state: dict[str, Any],
        local: Mapping[str, Any],
        seed: int,
        round: int,
        test: Any,
    ) -> None:
        self._party, self._model, self._state, self._local = party, model, state, local
        self._seed, self._round, self._test = seed, round, test
        self.metrics: Metrics = {}
        self.last: Weights = {}

    def train(self, weights: Weights, name: str = "", **options: Any) -> Trained:
        """Train from any weights, with the options of the run and these."""
        party = self._party
        stream: tuple[str | int, ...] = ("fit", self._round, party.id, *([name] if name else []))
        # A training of its own keeps an optimizer of its own.
        state = dict(self._state.get(name, {})) if name else self._state
        self._model.set_weights(weights)
        fitted = dict(
            self._model.fit(
                party.train,
                seed=seeds.number(self._seed, *stream),
                state=state,
                **{**self._local, **options},
            )
        )
        if (
            name and state and self._round
        ):  # nothing goes on from what is trained after the last round
            self._state[name] = state
        party.check("training", fitted["loss"], self._round)
        num_steps, travel = int(fitted.pop("steps", 0)), fitted.pop("travel", math.nan)
        extras = fitted.pop("extras", {})
        if not name:
            self.metrics = {f"train_{key}": value for key, value in fitted.items()}
            if self._test is not None:
                measured = self._model.evaluate(self._test)
                party.check("test", measured["loss"], self._round)
                self.metrics |= {f"local_{key}": value for key, value in measured.items()}
        self.last = self._model.get_weights()
        return Trained(self.last, fitted, num_steps, travel, extras)

    def measure(self, weights: Weights) -> Metrics:
        """Return the metrics of any weights on the party's own training rows."""
        self._model.set_weights(weights)
        found: Metrics = self._model.evaluate(self._party.train)
        return found

    def score(self, weights: Weights, rows: slice = slice(None)) -> Metrics:
        """Return the metrics of any weights on the party's own test rows, or on some of them;
        nothing without any.
        """
        test = self._test
        positions = np.arange(0 if test is None else rows_of.size(test))[rows]
        if not len(positions):
            return {}
        self._model.set_weights(weights)
        found: Metrics = self._model.evaluate(
            test if rows == slice(None) else rows_of.take(test, positions)
        )
        return found
