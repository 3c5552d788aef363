"""A party: its name, the rows that never leave it, and its answers to requests."""

from __future__ import annotations

import functools
import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds
from fusion_nb.core.contracts import check_answer, check_training, evaluate
from fusion_nb.core.counts import joined_metrics, standing_for
from fusion_nb.core.protocols import NeedsAgreement, TrainableModel
from fusion_nb.core.rounds.drift import Drift
from fusion_nb.core.types import (
    AdoptRequest,
    Answer,
    CollectRequest,
    EvaluateRequest,
    Failure,
    LocalContext,
    Metrics,
    NoUpdate,
    PrepareRequest,
    Reply,
    Request,
    RoundRequest,
    SendRequest,
    StepRequest,
    TrainingResult,
    Update,
    Weights,
)
from fusion_nb.errors import DivergedError, PartyError, Stopped, option


@dataclass
class Party:
    """One holder of data. `test` is None when it has no test rows of its own.

    The model is lent for one request and belongs to the worker, so that a thousand parties need
    one model. A party keeps what it must remember between rounds in `state`, which never leaves it.
    """

    id: str
    train: Any
    test: Any = None
    state: dict[str, Any] = field(default_factory=dict)
    #: Whether it takes part in training; a party that does not is evaluated only.
    trains: bool = True
    #: The part of its training rows that it has in each round; None for all of them.
    drift: Drift | None = None
    #: Entries for further steps of the round under way. They end with it, and are never saved.
    secrets: dict[str, Any] = field(default_factory=dict, repr=False)
    #: The round that `state` belongs to, and the state before it.
    _round: int = field(default=-1, repr=False)
    _before: dict[str, Any] = field(default_factory=dict, repr=False)
    #: Ignored label -> labels of the test rows that count beside it.
    _counted: dict[int, int] = field(default_factory=dict, repr=False)

    @property
    def num_examples(self) -> int:
        """The number of training rows."""
        return rows_of.size(self.train)

    @property
    def num_at_once(self) -> int:
        """The number of training rows that it has in a round, of about one size in all."""
        return len(self.drift.positions(1)) if self.drift else self.num_examples

    @property
    def num_test(self) -> int:
        """The number of test rows of its own."""
        return 0 if self.test is None else rows_of.size(self.test)

    def num_measured(self, ignored: int | None) -> int:
        """Return the number that metrics of the test rows are means over.

        It is that of the rows, or of the labels that count where a loss ignores one.
        """
        if ignored is None or self.test is None:
            return self.num_test
        if ignored not in self._counted:
            self._counted[ignored] = rows_of.num_counted(self.test, ignored)
        return self._counted[ignored]

    @property
    def persistent_state(self) -> Any:
        """All that it remembers, to continue in another process or later; None for nothing."""
        return (self.state, self._round, self._before) if self.state or self._before else None

    @persistent_state.setter
    def persistent_state(self, found: Any) -> None:
        self.state, self._round, self._before = found or ({}, self._round, {})

    @property
    def carried_state(self) -> Any:
        """That, its round and its secrets in it, for a worker of the kernel's own."""
        return self.state, self._round, self._before, self.secrets

    @carried_state.setter
    def carried_state(self, found: Any) -> None:
        self.state, self._round, self._before, self.secrets = found or ({}, self._round, {}, {})

    def answer(self, request: Request, model: TrainableModel) -> Reply:
        """Return the reply to a request.

        An exception becomes a Failure with its traceback; a stop passes through.
        """
        try:
            if not isinstance(request, StepRequest):
                self.secrets = {}  # of a round that has ended, or was refused
            return self._answer(request, model)
        except Stopped:
            raise
        except Exception as error:
            self.secrets = {}
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            return Failure(self.id, line, traceback.format_exc(), error)

    def _answer(self, request: Request, model: TrainableModel) -> Reply:
        match request:
            case RoundRequest():
                return self._train(request, model)
            case EvaluateRequest():
                return self._evaluate(request, model)
            case CollectRequest():
                extras = _agreeing(model).collect(self.train)
                return Update(self.id, {}, self.num_examples, extras=extras)
            case PrepareRequest():
                state = dict(self.state)  # one that was saved stays as it was
                _agreeing(model).prepare(self.train, state, request.agreed)
                self.state = state
                return Update(self.id, {}, self.num_examples)
            case StepRequest():
                return self._do_step(request)
            case SendRequest():
                return Update(self.id, self.state["fusion"]["weights"], self.num_examples)
            case AdoptRequest():
                kept = self.state["fusion"] | {"weights": request.weights}
                self.state = self.state | {"fusion": kept}
                return NoUpdate(self.id, self.num_examples)

    def _do_step(self, request: StepRequest) -> Update:
        """Do a further step of the round under way. Raises PartyError for one of another round."""
        if request.round != self._round:
            raise PartyError(
                f"{self.id} was asked for the step {request.name!r} of round {request.round}, and "
                f"is in round {self._round}",
                "ask for the training of that round first",
            )
        secrets = dict(self.secrets)
        extras = request.step(self.id, secrets, request.given[self.id])
        self.secrets = secrets
        return Update(self.id, {}, self.num_examples, extras=extras)

    def own_model_weights(self, fused: Weights, round: int) -> Weights | None:
        """Return the weights of the party's own model after a whole round, or None without one."""
        state = self._before if self._round > round else self.state
        kept = state.get("fusion", {})
        if "layers" in kept:
            return fused | dict(kept["layers"])
        own: Weights | None = kept.get("personal")
        return own

    def _train(self, request: RoundRequest, model: TrainableModel) -> Answer:
        """Do the party's half of a round, and add the metrics of its training to the answer.

        A round that is asked for again, since it did not become whole, starts from the same state.
        """
        if request.round != self._round:
            self._round, self._before = request.round, self.state
        self.state, state = self._before, dict(self._before)
        kept = dict(state.get("fusion", {})) if self._is_current(state, request) else {}
        trainer = _LocalTrainer(self, model, state, request)
        context = LocalContext(
            party=self.id,
            round=request.round,
            weights=request.party_weights.get(self.id, request.weights),
            broadcast=request.broadcast,
            state=kept,
            num_examples=self.num_examples,
            num_test=self.num_test,
            info=request.info,
            train=trainer.train,
            evaluate_train=trainer.evaluate_train,
            evaluate_test=trainer.evaluate_test,
            join_metrics=functools.partial(joined_metrics, model),
            seed=request.seed,
        )
        if request.local_update is None:
            answer: Answer = context.update(context.train(context.weights).weights)
        else:
            answer = check_answer(request.local_update(context), self.id)
        _keep(kept, state, request.fusion_since)
        self._commit(answer, state, trainer.last, request, model)
        self.secrets = context.secrets
        return replace(answer, metrics={**trainer.metrics, **answer.metrics})

    @staticmethod
    def _is_current(state: Mapping[str, Any], request: RoundRequest) -> bool:
        """Return whether the state is of the fusion that asks, and not of an earlier one."""
        return bool(state.get("since", 0) == request.fusion_since)

    def _commit(
        self,
        answer: Answer,
        state: dict[str, Any],
        last: Weights,
        request: RoundRequest,
        model: TrainableModel,
    ) -> None:
        """Take over the state after a round, unless the aggregator will refuse its weights."""
        is_silent = isinstance(answer, NoUpdate)
        if not (state or is_silent):
            return
        sent = last if isinstance(answer, NoUpdate) else answer.weights
        problem = model.check_weights(sent, request.weights, partial=True)
        if problem and is_silent:
            raise DivergedError(
                f"the weights of {self.id} in round {request.round}: {problem}",
                f"use a smaller {option('lr')}",
            )
        if state and not problem:
            self.state = state

    def _evaluate(self, request: EvaluateRequest, model: TrainableModel) -> Update:
        """Evaluate weights; layers that the party keeps to itself replace those of the weights.

        `num_examples` of the reply is the number that metrics are means over, see `num_measured`.
        """
        count = self.num_measured(model.ignored_label)
        metrics: Metrics = {}
        layers = self.state.get("fusion", {}).get("layers", {})
        if self.num_test or model.train_metrics:
            model.set_weights(request.weights | layers)
        if model.train_metrics:
            metrics |= model.evaluate_train(self.train, self.state)
        if self.num_test:
            test = rows_of.some(self.test, request.num_test_rows, request.seed, self.id)
            measured = evaluate(model, test)
            if test is not self.test:
                measured = standing_for(measured, self.num_test / rows_of.size(test))
            metrics |= measured
            metrics |= model.evaluate_costly(test) if request.costly else {}
            if model.ignored_label is not None and test is not self.test:
                counted = rows_of.num_counted(test, model.ignored_label)
                count = round(counted * self.num_test / rows_of.size(test))
        if layers:
            metrics |= {f"personal_{name}": value for name, value in metrics.items()}
        return Update(self.id, {}, count, metrics)


class _LocalTrainer:
    """Trains and evaluates for one party in one round, with the model that it is lent.

    `metrics` are those of the training without a name, `last` the weights of the latest training.
    """

    def __init__(
        self, party: Party, model: TrainableModel, state: dict[str, Any], request: RoundRequest
    ) -> None:
        self._party, self._model, self._state, self._request = party, model, state, request
        own = request.party_options.get(party.id, {})
        self._options = {**request.options, **own}
        self._rows = party.drift.rows(party.train, request.round) if party.drift else party.train
        self._test = None
        if party.num_test and request.is_measured:
            self._test = rows_of.some(party.test, request.num_test_rows, request.seed, party.id)
        self.metrics: Metrics = {}
        self.last: Weights = {}

    def train(self, weights: Weights, name: str = "", **options: Any) -> TrainingResult:
        """Train from any weights, with the options of the run and these."""
        party, round = self._party, self._request.round
        stream: tuple[str | int, ...] = ("fit", round, party.id, *([name] if name else []))
        # A training with a name keeps an optimizer of its own.
        state = dict(self._state.get(name, {})) if name else self._state
        self._model.set_weights(weights)
        result = self._model.fit(
            self._rows,
            seed=seeds.number(self._request.seed, *stream),
            state=state,
            **{**self._options, **options},
        )
        check_training(self._model, result)
        # Nothing continues from a training after the last round.
        if name and state and round:
            self._state[name] = state
        self._check_loss("training", result.metrics.get("loss", 0.0))
        if not name:
            self.metrics = {f"train_{key}": value for key, value in result.metrics.items()}
            if self._test is not None:
                measured = evaluate(self._model, self._test)
                self._check_loss("test", measured.get("loss", 0.0))
                self.metrics |= {f"local_{key}": value for key, value in measured.items()}
        self.last = result.weights
        return result

    def evaluate_train(self, weights: Weights) -> Metrics:
        """Return the metrics of any weights on the party's own training rows."""
        self._model.set_weights(weights)
        return evaluate(self._model, self._rows, with_added=False)

    def evaluate_test(self, weights: Weights, rows: slice = slice(None)) -> Metrics:
        """Return the metrics of any weights on the party's own test rows, or on some of them."""
        test = self._test
        positions = np.arange(0 if test is None else rows_of.size(test))[rows]
        if not len(positions):
            return {}
        self._model.set_weights(weights)
        some = test if rows == slice(None) else rows_of.take(test, positions)
        return evaluate(self._model, some)

    def _check_loss(self, which: str, loss: float) -> None:
        """Raise DivergedError for a loss that is not a finite number."""
        if math.isfinite(loss):
            return
        round = self._request.round
        when = f"in round {round}" if round else "after the last round"
        raise DivergedError(
            f"the {which} loss of {self._party.id} became {loss} {when}",
            f"use a smaller {option('lr')}, or look for extreme values in this party's rows",
        )


def _keep(kept: dict[str, Any], state: dict[str, Any], since: int) -> None:
    """Put what a fusion keeps at a party into the party's state, marked by its first round."""
    if kept:
        state["fusion"] = kept
    elif since:
        state.pop("fusion", None)
    if since:
        state["since"] = since


def _agreeing(model: TrainableModel) -> NeedsAgreement:
    assert isinstance(model, NeedsAgreement)
    return model
