"""Bagging of boosted trees: every party adds trees of its own rows to the common ensemble."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import LocalContext, Requirements, Update, Weights, WeightsKind
from fusion_nb.models import trees


class Bagging(Fusion):
    """Add the trees that every party grew on its own rows to the ensemble, and keep them all.

    In each round, parties continue from the same ensemble and send only the trees that they added.
    The new trees of all parties together count as much as those of `eta` parties (of all, where
    there are fewer), each party's in proportion to its number of rows. With XGBoost's learning
    rate of 0.3, those of 3 parties are about the whole step that one booster would take with a
    learning rate of 1; the trees of many parties, added up, would overshoot.

    Source: the bagging of Flower's and NVIDIA FLARE's federated XGBoost (Roth et al., "NVIDIA
    FLARE: Federated Learning from Simulation to Real-World", 2022), which sum up the parties'
    trees; they add to an ensemble as the boosting of Friedman, "Greedy Function Approximation: A
    Gradient Boosting Machine", Annals of Statistics 2001.
    """

    not_linear = "gathers trees"
    requires = Requirements(partial_updates=True)
    fuses: frozenset[WeightsKind] = frozenset({"trees"})

    def __init__(
        self,
        *,
        eta: Annotated[
            float,
            Field(
                description="weight of all parties' new trees together, in parties; 1 averages "
                "them, 0 adds them up",
                ge=0,
            ),
        ] = 3.0,
    ) -> None:
        self._eta = eta

    def local_update(self, context: LocalContext) -> Update:
        """Train, and send the trees that were added."""
        grown = context.train(context.weights).weights
        earlier = trees.read(context.weights).num_trees
        return context.update(trees.write(trees.read(grown).added_to(earlier)))

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the ensemble with the new trees of all parties after its own, in party order."""
        sent = [(trees.read(update.weights), update.num_examples) for update in updates]
        total = sum(num_examples for _, num_examples in sent)
        if not total:
            return weights, state
        eta = min(self._eta or len(sent), len(sent))
        shares = [(added, eta * num_examples / total) for added, num_examples in sent]
        return trees.write(trees.read(weights).joined(shares)), state
