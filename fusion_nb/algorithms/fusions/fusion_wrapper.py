"""A base of rules that are made around another rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fusion_nb.core.protocols import FederationView, Fusion, Synchronising
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    Metrics,
    PartyMetrics,
    Update,
    Weights,
)


class FusionWrapper(Fusion):
    """Passes every call to an inner rule. A subclass changes some of the methods.

    `requires`, `client_options`, `averages` and `has_post_training` are those of the inner rule; a
    subclass replaces them in its constructor. `FusionWrapper(inner)` itself changes nothing.

    >>> import numpy as np
    >>> from fusion_nb.algorithms.fusions.averaging import fedavg
    >>> class Damped(FusionWrapper):
    ...     '''Moves the weights half as far as the inner rule does.'''
    ...     def aggregate(self, weights, updates, state):
    ...         new, state = self.inner.aggregate(weights, updates, state)
    ...         return {name: (weights[name] + new[name]) / 2 for name in new}, state
    >>> updates = iter([Update("party 1", {"w": np.ones(2)}, num_examples=10)])
    >>> Damped(fedavg()).aggregate({"w": np.zeros(2)}, updates, None)
    ({'w': array([0.5, 0.5])}, None)
    """

    wraps_another = True

    def __init__(self, inner: Fusion) -> None:
        self.inner = inner
        self.requires = inner.requires
        self.fuses = inner.fuses
        self.averages = inner.linear or inner.averages
        self.client_options = dict(inner.client_options)
        self.has_post_training = inner.has_post_training
        self.metric_names = inner.metric_names

    @property
    def synchronising(self) -> Synchronising | None:
        """The inner rule, where its parties keep their weights until they are asked for them."""
        return self.inner.synchronising

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the inner rule's state."""
        return self.inner.init(weights, info)

    def notes(self, state: Any) -> Sequence[str]:
        """Return what the inner rule's state tells the user."""
        return self.inner.notes(self._of_inner(state))

    def measure(self, state: Any) -> Metrics:
        """Return what the inner rule's state adds to the metrics of a round."""
        return self.inner.measure(self._of_inner(state))

    def _of_inner(self, state: Any) -> Any:
        """Return the inner rule's part of the state; all of it for a wrapper without a state."""
        has_own = type(self).init is not FusionWrapper.init
        is_inside = has_own and isinstance(state, Mapping) and "inner" in state
        return state["inner"] if is_inside else state

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return what the inner rule sends along with the weights."""
        return self.inner.broadcast(state)

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return the entries that the inner rule sends to parties."""
        return self.inner.shared_weights(weights, state)

    def local_update(self, context: LocalContext) -> Answer:
        """Return the reply of the inner rule's local update."""
        return self.inner.local_update(context)

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights and the state that the inner rule returns."""
        return self.inner.aggregate(weights, updates, state)

    def post_training(self, federation: FederationView) -> PartyMetrics:
        """Return the metrics of the inner rule's step after the last round."""
        return self.inner.post_training(federation)


def innermost(fusion: Fusion) -> Fusion:
    """Return the rule that others are made around, or the rule itself."""
    while isinstance(fusion, FusionWrapper):
        fusion = fusion.inner
    return fusion


def changes_local_update(fusion: Fusion) -> bool:
    """Return whether a rule, or a rule inside it, has a local update other than one training."""
    method = type(fusion).local_update
    if method is FusionWrapper.local_update and isinstance(fusion, FusionWrapper):
        return changes_local_update(fusion.inner)
    return method is not Fusion.local_update


def broadcasts(fusion: Fusion) -> bool:
    """Return whether a rule, or a rule inside it, sends more than weights to the parties."""
    method = type(fusion).broadcast
    if method is FusionWrapper.broadcast and isinstance(fusion, FusionWrapper):
        return broadcasts(fusion.inner)
    return method is not Fusion.broadcast
