"""The parties of a federation with the engine that reaches them and the model that they share."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Engine, Model, NeedsAgreement, OpenRound
from fusion_nb.core.replies import RoundReplies, in_cohort_order
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.types import (
    CollectRequest,
    Failure,
    FederationInfo,
    PrepareRequest,
    Reply,
    Request,
    Update,
    Weights,
)


class Network:
    """Starts an engine when it is first needed, and brings all parties to the same model.

    `initial_weights` are those before round 1, empty before parties agreed on a model that needs
    it; `info` is None until then. `failures` are those of round 0.
    """

    def __init__(
        self, parties: Sequence[Party], model: Model, engine: Engine, control: RunControl
    ) -> None:
        self.parties, self.model, self.engine = parties, model, engine
        self._control = control
        self._is_started = False
        self._release: Callable[[], Any] = lambda: None
        self.failures: tuple[Failure, ...] = ()
        self.info: FederationInfo | None = None
        self.initial_weights: Weights = model.get_weights()
        self._frozen: Weights = model.frozen_weights()
        self._initial_model: Weights = {}
        if not isinstance(model, NeedsAgreement):
            self.info = self._describe()

    @property
    def everyone(self) -> list[str]:
        """The ids of all parties, in order."""
        return [party.id for party in self.parties]

    @property
    def initial_model(self) -> Weights:
        """All weights before round 1, those included that do not travel; the same object always."""
        if not self._frozen:
            return self.initial_weights
        if not self._initial_model:
            self._initial_model = {**self._frozen, **self.initial_weights}
        return self._initial_model

    def start(self) -> None:
        """Start the engine, unless it runs."""
        if not self._is_started:
            control = self._control
            # A plain function: an adapter that clones itself by deepcopy copies its gate too.
            self.model.gate = lambda: control.gate()
            # On every engine: a party's numbers must be the same whatever trains beside it. One
            # that trains alone has all cores for itself.
            if self.model.thread_safe and len(self.parties) > 1:
                self._hold_single_threaded()
            try:
                self.engine.start(self.parties, self.model, self.model.gate)
            except BaseException:
                self._release()
                raise
            self._is_started = True

    def ask(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Carry a request to each party of a cohort, and yield their replies in its order."""
        self.start()
        return in_cohort_order(self.engine.run(request, cohort), cohort, request)

    def ask_open(self, round: OpenRound) -> Iterator[Reply]:
        """Ask parties as an open round names them, and yield replies as they come."""
        self.start()
        return self.engine.run_open(round)

    def agree(self, *, keep_states: bool) -> None:
        """Do round 0: let all parties agree on the model, where it needs that.

        keep_states: whether parties keep their states, since they have trained already
        Raises the error of the first party that fails: who is missing in round 0 could take part in
        no other.
        """
        if self.info is not None or not isinstance(self.model, NeedsAgreement):
            return
        kept = [party.persistent_state for party in self.parties]
        trained = [party.id for party in self.parties if party.trains]
        agreed = self.model.agree(self._ask_all(CollectRequest(), trained))
        self._ask_all(PrepareRequest(agreed), self.everyone)
        if keep_states:
            for party, state in zip(self.parties, kept, strict=True):
                party.persistent_state = state
        self.initial_weights = self.model.get_weights()
        self.info = self._describe()

    def close(self) -> None:
        """Release the engine's workers. The next request starts them again."""
        if self._is_started:
            self.engine.close()
            self._release()
            self._is_started = False

    def _hold_single_threaded(self) -> None:
        """Keep the computations of this thread, and of new ones, on one core until `close`."""
        settings = ExitStack()
        settings.enter_context(self.model.single_threaded())
        # One that is dropped unclosed leaves no setting behind.
        finalizer = weakref.finalize(self, settings.close)
        finalizer.atexit = False  # a kernel that ends does not wait for a run that is paused
        self._release = finalizer

    def _ask_all(self, request: Request, asked: Sequence[str]) -> list[Update]:
        replies = RoundReplies(self.ask(request, asked), asked, round=0, quorum=1.0)
        try:
            return list(replies)
        finally:
            self.failures = tuple(replies.failures)

    def _describe(self) -> FederationInfo:
        return FederationInfo(
            num_parties=sum(party.trains for party in self.parties),
            entries=tuple(self.initial_weights),
            trained=self.model.trained_names(),
            batch_norm=self.model.batch_norm_names(),
            parties=tuple(self.everyone),
        )
