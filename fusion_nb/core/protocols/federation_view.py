"""A federation, as a baseline and a step after the last round see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from fusion_nb.core.history import History
from fusion_nb.core.protocols.model import Model
from fusion_nb.core.protocols.party import PartyLike
from fusion_nb.core.types import LocalUpdate, PartyMetrics, ServerState, Update, Weights


class FederationView(Protocol):
    """A federation, as a baseline and a step after the last round see it."""

    @property
    def parties(self) -> Sequence[PartyLike]:
        """The parties, in order."""

    @property
    def model(self) -> Model:
        """The aggregator's model."""

    @property
    def state(self) -> ServerState | None:
        """The aggregator's state after the last whole round."""

    @property
    def weights(self) -> Weights:
        """The fused weights of the last whole round."""

    @property
    def history(self) -> History:
        """The records of the whole rounds."""

    @property
    def train_options(self) -> Mapping[str, Any]:
        """The options of local training in the next round."""

    @property
    def client_options(self) -> Mapping[str, Any]:
        """Those that the fusion of the next round adds to them."""

    def changed_options(self, round: int) -> Mapping[str, Any]:
        """Return the options of the run that have another value from a round on."""

    def cohort(self, round: int) -> tuple[str, ...]:
        """Return the parties that train in a round."""

    def ask_parties(self, local_update: LocalUpdate, **broadcast: Any) -> list[Update]:
        """Let every party do one more step outside of the rounds, and return the updates."""


#: A step after the last round; it returns each party's metrics.
PostTraining = Callable[[FederationView], PartyMetrics]
