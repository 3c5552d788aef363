"""A base of rules whose parties keep some layers to themselves: only the other layers are fused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    Metrics,
    TrainingResult,
    Update,
    Weights,
)


class LocalLayers(FusionWrapper, ABC):
    """Fuses all entries except some, which every party trains, keeps and uses for itself.

    >>> from fusion_nb.algorithms.fusions.averaging import fedavg
    >>> class OwnBias(LocalLayers):
    ...     "Every party has its own biases."
    ...     def local_names(self, info):
    ...         return frozenset(name for name in info.entries if name.endswith("bias"))
    >>> rule, names = OwnBias(fedavg()), ("0.weight", "0.bias")
    >>> state = rule.init(dict.fromkeys(names), FederationInfo(2, names, frozenset(names)))
    >>> list(rule.shared_weights(dict.fromkeys(names), state))
    ['0.weight']
    """

    def __init__(self, inner: Fusion) -> None:
        super().__init__(inner)
        self.requires = replace(inner.requires, partial_updates=True, local_layers=True)

    @abstractmethod
    def local_names(self, info: FederationInfo) -> frozenset[str]:
        """Return the names of the entries that parties keep.

        Raises OptionError where there are none.
        """

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the names of the local entries, and the inner rule's state for the others."""
        local = self.local_names(info)
        inner = self.inner.init(_without(local, weights), _shared_info(local, info))
        return {"inner": inner, "local": sorted(local)}

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return the inner rule's extras."""
        return self.inner.broadcast(state["inner"])

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return the entries that are fused: no others travel."""
        return self.inner.shared_weights(_without(state["local"], weights), state["inner"])

    def local_update(self, context: LocalContext) -> Answer:
        """Train the fused entries together with the party's own; keep these, and send the others.

        The inner rule sees the fused entries only.
        """
        local = self.local_names(context.info)
        own: Weights = context.state.get("layers") or {
            name: array for name, array in context.weights.items() if name in local
        }

        def train(weights: Weights, name: str = "", **options: Any) -> TrainingResult:
            result = context.train(weights | own, name, **options)
            if not name:
                context.state["layers"] = {entry: result.weights[entry] for entry in own}
            return replace(result, weights=_without(local, result.weights))

        def evaluate_train(weights: Weights) -> Metrics:
            return context.evaluate_train(weights | own)

        def evaluate_test(weights: Weights, rows: slice = slice(None)) -> Metrics:
            return context.evaluate_test(weights | own, rows)

        shared = replace(
            context,
            weights=_without(local, context.weights),
            info=_shared_info(local, context.info),
            train=train,
            evaluate_train=evaluate_train,
            evaluate_test=evaluate_test,
        )
        return self.inner.local_update(shared)

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the shared entries fused by the inner rule, and the local ones unchanged."""
        shared = _without(state["local"], weights)
        fused, inner = self.inner.aggregate(shared, updates, state["inner"])
        return weights | fused, {**state, "inner": inner}


def _without(local: Collection[str], weights: Weights) -> Weights:
    """Return the entries of the weights that are not local."""
    names = frozenset(local)
    return {name: array for name, array in weights.items() if name not in names}


def _shared_info(local: frozenset[str], info: FederationInfo) -> FederationInfo:
    """Return the facts about a federation that has the shared entries only."""
    return replace(
        info,
        entries=tuple(name for name in info.entries if name not in local),
        trained=info.trained - local,
        batch_norm=info.batch_norm - local,
    )
