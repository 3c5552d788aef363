"""Layers that parties keep to themselves: what is fused is the rest of the model."""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.base import Around, take_turn
from fusion_nb.core.types import Answer, Fusion, Metrics, Trained, Turn, Update, Weights
from fusion_nb.errors import OptionError


class _Layers(Around, ABC):
    """Fuses all entries but some, which every party trains, keeps and uses for itself."""

    sends_part = True
    keeps_layers = True

    def __init__(self, inner: Fusion) -> None:
        super().__init__(inner)
        self._own: frozenset[str] = frozenset()

    @abstractmethod
    def chosen(self, model: Any) -> frozenset[str]:
        """Return the names of the entries that parties keep. Raises OptionError where there are
        none.
        """

    def meet(self, num_parties: int, trained: frozenset[str], model: Any) -> None:
        """Find the entries that parties keep; the inner rule is told of the others."""
        self._own = self.chosen(model)
        if hasattr(self.inner, "meet"):
            self.inner.meet(num_parties=num_parties, trained=trained - self._own, model=model)

    def init(self, weights: Weights) -> Any:
        """Return the inner rule's state, which is of the shared entries."""
        return self.inner.init(self.down(weights))

    def down(self, weights: Weights) -> Weights:
        """Return the shared entries, which are all that travels."""
        return {name: array for name, array in weights.items() if name not in self._own}

    def train(self, turn: Turn) -> Answer:
        """Train the fused entries with the party's own, keep these, and send those: the rule sees
        no others.
        """
        own: Weights = turn.state.get("layers") or {
            entry: turn.weights[entry] for entry in self._own
        }

        def train(weights: Weights, name: str = "", **options: Any) -> Trained:
            trained = turn.train(weights | own, name, **options)
            if not name:
                turn.state["layers"] = {entry: trained.weights[entry] for entry in self._own}
            return replace(trained, weights=self.down(trained.weights))

        def measure(weights: Weights) -> Metrics:
            return turn.measure(weights | own)

        def score(weights: Weights, rows: slice = slice(None)) -> Metrics:
            return turn.score(weights | own, rows)

        shared = replace(
            turn, weights=self.down(turn.weights), train=train, measure=measure, score=score
        )
        return take_turn(self.inner, shared)

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the shared entries fused by the inner rule; the others stay as they were at
        first.
        """
        fused, state = self.inner.fuse(self.down(weights), updates, state)
        return weights | fused, state


class FedPer(_Layers):
    """Let every party keep some layers to itself, such as the last one, and fuse the others.

    Its own layers never leave a party, and the aggregator's model has the first weights in their
    place.

    Source: Arivazhagan, Aggarwal, Singh, Choudhary, "Federated Learning with Personalization
    Layers", 2019.
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        layers: Annotated[
            str, Field(description="names of weights with * for anything, as 4.*; several with |")
        ],
    ) -> None:
        super().__init__(inner)
        self._patterns = layers.split("|")

    def chosen(self, model: Any) -> frozenset[str]:
        """Return the entries whose names match."""
        names = list(model.get_weights())
        for pattern in self._patterns:
            if not fnmatch.filter(names, pattern):
                hint = f"its weights are: {', '.join(names)}"
                raise OptionError(
                    f"fedper:layers={pattern} is the name of no weights of this model", hint
                )
        own = frozenset(
            name for pattern in self._patterns for name in fnmatch.filter(names, pattern)
        )
        if len(own) == len(names):
            line = f"fedper:layers={'|'.join(self._patterns)} leaves nothing to be fused"
            raise OptionError(line, f"choose some of: {', '.join(names)}")
        return own


class FedBN(_Layers):
    """Let every party keep its batch normalization to itself, parameters and statistics, and fuse
    the other layers.

    For parties whose rows look different (another scanner, another camera) and mean the same.

    Source: Li, Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID Features via Local
    Batch Normalization", ICLR 2021.
    """

    def __init__(self, inner: Fusion) -> None:
        super().__init__(inner)

    def chosen(self, model: Any) -> frozenset[str]:
        """Return the entries of batch normalization layers."""
        own: frozenset[str] = model.norm_names()
        if not own:
            raise OptionError(
                "--personal fedbn, but the model has no batch normalization",
                "use fedper:layers=...",
            )
        return own
