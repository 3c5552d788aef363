"""IFCA: a model for each cluster of parties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.algorithms.personalization.base import personal_metrics, plain_options
from fusion_nb.core import seeds
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.protocols import FederationView, Fusion
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    NoUpdate,
    PartyMetrics,
    Update,
    Weights,
)


class IFCA(FusionWrapper):
    """Train a model for each cluster of parties, beside the fused one.

    Each party joins the cluster whose model fits it best.

    Parties receive all clusters' models and send the one that they trained, which costs that much
    more traffic and twice the training. The first models have the first weights of the run,
    shuffled within each entry, except for one of them.

    Source: Ghosh, Chung, Yin, Ramchandran, "An Efficient Framework for Clustered Federated
    Learning", NeurIPS 2020 (model averaging).
    """

    not_linear = "sums the models of each cluster apart"

    def __init__(
        self,
        inner: Fusion,
        *,
        clusters: Annotated[int, Field(description="how many clusters there are", ge=1)] = 2,
    ) -> None:
        super().__init__(inner)
        self.averages = False
        self._num_clusters = clusters
        self.has_post_training = True

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the inner rule's state, and the clusters' first models."""
        clusters = [_shuffled(weights, k) if k else weights for k in range(self._num_clusters)]
        return {"inner": self.inner.init(weights, info), "clusters": clusters}

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return the inner rule's extras, and the clusters' models."""
        clusters = {str(k): weights for k, weights in enumerate(state["clusters"])}
        return {**self.inner.broadcast(state["inner"]), "clusters": clusters}

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return the entries that the inner rule sends to parties."""
        return self.inner.shared_weights(weights, state["inner"])

    def local_update(self, context: LocalContext) -> Answer:
        """Do the inner rule's local update, then train the model of the cluster that fits."""
        answer = self.inner.local_update(context)
        if isinstance(answer, NoUpdate):  # a party that sends nothing sends no cluster's model
            return answer
        cluster, weights = _nearest_cluster(context)
        options = plain_options(self.client_options)
        trained = context.train(weights, "personal", **options).weights
        return replace(answer, extras={**answer.extras, "cluster": cluster, "personal": trained})

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the inner rule's weights, and the mean of each cluster's models.

        The means are weighted by rows.
        """
        means = [RunningMean() for _ in state["clusters"]]

        def collected() -> Iterator[Update]:
            for update in updates:
                means[update.extras["cluster"]].add(update.extras["personal"], update.num_examples)
                yield update

        passing = collected()
        fused, inner = self.inner.aggregate(weights, passing, state["inner"])
        for _ in passing:  # those that the inner rule left unread
            pass
        clusters = [
            mean.mean() if mean.total else old
            for mean, old in zip(means, state["clusters"], strict=True)
        ]
        return fused, {"inner": inner, "clusters": clusters}

    def post_training(self, federation: FederationView) -> PartyMetrics:
        """Let every party join a cluster for good, and evaluate the cluster's model."""
        state = federation.state
        extras = self.broadcast(state.fusion_state) if state else {}
        answers = federation.ask_parties(_join_cluster, **extras)
        return {answer.party: dict(answer.metrics) for answer in answers}


def _join_cluster(context: LocalContext) -> Update:
    _, own = _nearest_cluster(context)
    context.state["personal"] = own
    return replace(context.update({}), metrics=personal_metrics(context.evaluate_test(own)))


def _nearest_cluster(context: LocalContext) -> tuple[int, Weights]:
    """Return the cluster with the lowest loss on the party's training rows, and its model."""
    clusters: list[Weights] = list(context.broadcast["clusters"].values())
    losses = [context.evaluate_train(weights)["loss"] for weights in clusters]
    best = int(np.argmin(losses))
    return best, clusters[best]


def _shuffled(weights: Weights, number: int) -> Weights:
    """Return weights that hold the same numbers as others in another order, entry by entry."""
    return {
        name: seeds.stream(0, "cluster", number, name).permuted(array.ravel()).reshape(array.shape)
        if np.issubdtype(array.dtype, np.floating)
        else array
        for name, array in weights.items()
    }
