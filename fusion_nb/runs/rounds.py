"""Where the rounds of a run are trained: by a federation in this process, or elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, cast

from fusion_nb.core import arithmetic
from fusion_nb.core.history import History
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Change
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.types import RoundRecord, Weights
from fusion_nb.errors import RunError, option
from fusion_nb.models.base import Model
from fusion_nb.runs.build import Prepared


class RoundSource(ABC):
    """Trains rounds for a `BackgroundRun`, and keeps what they led to.

    Between batches, or whenever it waits, it passes the gate of the `RunControl` that it was made
    with: the gate holds a run that is paused, and raises Stopped.
    """

    #: Where rows of the parties were sent to, as an address; "" where none left this machine.
    rows_went_to: str = ""
    #: Options of the line that lead to this source, beside those of the run.
    line_options: Mapping[str, str] = MappingProxyType({})
    #: Why it ended before its last round by itself, in words, or an empty string.
    reason: str = ""

    @property
    @abstractmethod
    def history(self) -> History:
        """The whole rounds that are told."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """The adapter of the model, which takes the weights."""

    @property
    @abstractmethod
    def weights(self) -> Weights:
        """The fused weights of the last round that is told, or the first ones."""

    @property
    @abstractmethod
    def best_weights(self) -> Weights:
        """The fused weights of the best round by the monitored metric."""

    @abstractmethod
    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Train that many rounds more, and yield each as soon as it is whole."""

    def when_safe(self, tell: Callable[[], object]) -> None:
        """Call `tell` once the round that was yielded last is where it should be: here at once.

        It may be called later and in another thread, but before that of the next round, and before
        `settle` returns. Raises Stopped where an earlier round can't be told.
        """
        tell()

    def showing_latest(self) -> AbstractContextManager[None]:
        """Answer this thread about the last whole round inside `with`, before that is told."""
        return nullcontext()

    def settle(self) -> None:  # noqa: B027  (most tell at once)
        """Wait until all whole rounds are told. Raises Stopped where they can't be.

        `failure` says why.
        """

    @property
    def failure(self) -> BaseException | None:
        """Why rounds that are whole could not be told, so that the run has to end."""
        return None

    @abstractmethod
    def own_model(self, party: str) -> Any:
        """Return a party's own model, as its framework has it.

        Raises RunError or ModelError where the party has none.
        """

    def test_weights(self, party: str, *, is_personal: bool) -> Weights:
        """Return the weights with which a party's test rows are predicted in this process.

        is_personal: those of the party's own model
        Raises RunError where no row may be predicted, or the party has no model of its own.
        """
        raise RunError(
            "a service gives out numbers over many rows, and no prediction for a row",
            "train it in the kernel",
        )

    @property
    def notes(self) -> list[str]:
        """Sentences about where the rounds are trained, and what was sent there."""
        return []

    def plan(self, last: int, after: int | None = None) -> None:  # noqa: B027  (not all plan)
        """Plan rounds up to `last`; the learning rate falls anew after the round `after`."""

    def change(self, change: Change) -> None:
        """Change options from the next round on."""
        raise RunError("change() is not for this run", "make another run with these options")

    def check_request(self, request: str) -> None:  # noqa: B027  (most follow all)
        """Raise RunError for a request (pause, step, more, change) that can't be followed."""

    def finish(self) -> None:  # noqa: B027  (not all have one)
        """Do the step after the last round, once."""

    def close(self) -> None:  # noqa: B027  (not all have workers)
        """Release workers. Further rounds start them again."""


class FederationRounds(RoundSource):
    """The rounds of a federation in this process."""

    def __init__(self, prepared: Prepared, control: RunControl) -> None:
        self._federation, self._monitor = prepared.federation, prepared.monitor
        self._after = prepared.after
        spec = prepared.resolved.spec
        self._is_personal = bool(spec.personal or spec.share)
        earlier = prepared.earlier
        self._best_weights: Weights = earlier.best if earlier else {}
        #: The first weights of the run that it continues, until they were compared.
        self._expected: Weights = earlier.initial if earlier else {}

    @property
    def history(self) -> History:
        """The whole rounds so far."""
        return self._federation.history

    @property
    def model(self) -> Model:
        """The adapter of the federation's model."""
        return cast(Model, self._federation.model)

    @property
    def weights(self) -> Weights:
        """The fused weights of the last whole round, or the first ones."""
        return self._federation.weights or self._federation.network.initial_weights

    @property
    def notes(self) -> list[str]:
        """What the aggregation rule tells of the rounds so far, and what was measured then."""
        state = self._federation.state
        found = list(self._federation.fusion.notes(state.fusion_state)) if state else []
        return [*found, *self._after.notes]

    @property
    def best_weights(self) -> Weights:
        """The fused weights of the best round by the monitored metric."""
        return self._best_weights

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Train that many rounds more, and keep the weights of the best one."""
        for record in self._federation.rounds(num_rounds):
            self._check_initial()
            best = self._federation.history.best(self._monitor)
            if best is not None and best.round == record.round:
                self._best_weights = self._federation.weights
            yield record

    def own_model(self, party: str) -> Any:
        """Return a party's personal model, or the model with what the party keeps."""
        return self.own_model_after(party, self.weights, len(self.history))

    def own_model_after(self, party: str, weights: Weights, round: int) -> Any:
        """Return a party's own model after the last whole round, or the one before that.

        weights: the fused ones of that round
        """
        holder = self._holder(party)
        own = holder.own_model_weights(weights, round)
        if own is not None:
            return self.model.native(own)
        if self._is_personal:
            raise RunError(
                f"{party} has no model of its own yet", "it gets one when it has trained"
            )
        return self.model.personal(weights, holder.train)

    def test_weights(self, party: str, *, is_personal: bool) -> Weights:
        """Return the fused weights, with a party's own layers, or those of its own model."""
        has_layers = self._federation.fusion.requires.local_layers
        if not (is_personal or has_layers):
            return self.weights
        own = self._holder(party).own_model_weights(self.weights, len(self.history))
        if own is not None:
            return own
        if not is_personal:  # its own layers are the first ones until it trains
            return self.weights
        if has_layers:
            raise RunError(
                f"{party} has not trained yet, and has no model of its own",
                "train more rounds, or leave personal=True out",
            )
        raise RunError(
            f"{party} has no model of its own",
            f"train with {option('personal')} or {option('share')}, or leave personal=True out",
        )

    def plan(self, last: int, after: int | None = None) -> None:
        """Let the learning rate fall over further rounds."""
        self._federation.config.schedule.extend(last, after)

    def change(self, change: Change) -> None:
        """Change options from the next round on."""
        self._federation.plan.add(change)

    def finish(self) -> None:
        """Do the step after the last round, once, and measure what is measured after it."""
        self._federation.finish()
        self._after.finish(self._federation)

    def close(self) -> None:
        """Release the engine's workers."""
        self._federation.close()

    def _check_initial(self) -> None:
        """Raise RunError where parties agreed on another model than in the run that it continues.

        Other models were given their first weights.
        """
        if self._expected and not arithmetic.equal(
            self._expected, self._federation.network.initial_model
        ):
            raise RunError(
                "the model began with other weights in the saved run",
                "give the model that it was begun with",
            )
        self._expected = {}

    def _holder(self, party: str) -> Party:
        """Return the party that holds a personal model; with `share` it is one trained alone."""
        holders = self._federation.post_training.parties or self._federation.parties
        return next(holder for holder in holders if holder.id == party)
