"""A model of its own for each party, trained beside the fused one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.base import Around, take_turn
from fusion_nb.core import seeds
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.types import Answer, Fusion, Metrics, Trained, Turn, Unchanged, Update, Weights

#: Values of a fusion's options with which training is plain.
_PLAIN = {"mu": 0.0, "anchor": None, "shift": None}


def plain(local: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that undo, for one training, what a fusion asks of local training."""
    return {name: value for name, value in _PLAIN.items() if name in local}


def personal(metrics: Mapping[str, float]) -> Metrics:
    """Return metrics under the names that they have for a party's own model."""
    return {f"personal_{name}": value for name, value in metrics.items()}


class Ditto(Around):
    """Let every party train a model of its own too, which is held near the fused one by lambda / 2
    * distance squared.

    What is fused is as without it. Trains twice.

    Source: Li, Hu, Beirami, Smith, "Ditto: Fair and Robust Federated Learning Through
    Personalization", ICML 2021.
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        lambda_: Annotated[
            float, Field(description="how strongly it is held; 0 is training alone", ge=0)
        ] = 0.1,
    ) -> None:
        super().__init__(inner)
        self._lambda = lambda_

    @property
    def local(self) -> Mapping[str, Any]:
        """What every party must honour: to be held near weights, beside what the inner rule asks
        for.
        """
        return {"mu": 0.0, "anchor": None, **self.inner.local}

    def train(self, turn: Turn) -> Answer:
        """Take the inner rule's turn, then train the party's own model on."""
        reply = take_turn(self.inner, turn)
        own = turn.state.get("personal", turn.weights)
        options = plain(self.local) | {"mu": self._lambda, "anchor": turn.weights}
        turn.state["personal"] = turn.train(own, "personal", **options).weights
        return _scored(reply, turn)


class APFL(Around):
    """Let every party use a mixture of the shared model and one of its own, which learns what the
    mixture lacks.

    The mixture is alpha * own + (1 - alpha) * shared, step by step on the same batches; what is
    fused is as without it.

    Source: Deng, Kamani, Mahdavi, "Adaptive Personalized Federated Learning", 2020 (Algorithm 1,
    alpha fixed).
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        alpha: Annotated[
            float, Field(description="share of the party's own model in the mixture", ge=0, le=1)
        ] = 0.5,
    ) -> None:
        super().__init__(inner)
        self._alpha = alpha

    @property
    def local(self) -> Mapping[str, Any]:
        """What every party must honour: to train a mixture, beside what the inner rule asks for."""
        return {**self.inner.local, "mix": None}

    def train(self, turn: Turn) -> Answer:
        """Take the inner rule's turn, in which the party's own model is trained along."""
        own = turn.state.get("own", turn.weights)

        def mixing(weights: Weights, name: str = "", **options: Any) -> Trained:
            if name:
                return turn.train(weights, name, **options)
            trained = turn.train(weights, mix={"alpha": self._alpha, "own": own}, **options)
            turn.state["own"], turn.state["personal"] = (
                trained.extras["own"],
                trained.extras["mixed"],
            )
            return trained

        return _scored(take_turn(self.inner, replace(turn, train=mixing)), turn)


class IFCA(Around):
    """Train a model for each cluster of parties, beside the fused one: each party joins the model
    that fits it best.

    Parties get all clusters' models and send the one that they trained, which costs that much more
    traffic and twice the training. The first models have the first weights of the run, shuffled
    within each entry, but for one.

    Source: Ghosh, Chung, Yin, Ramchandran, "An Efficient Framework for Clustered Federated
    Learning", NeurIPS 2020 (model averaging).
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        clusters: Annotated[int, Field(description="how many clusters there are", ge=1)] = 2,
    ) -> None:
        super().__init__(inner)
        self._num_clusters = clusters

    def init(self, weights: Weights) -> Any:
        """Return the inner rule's state, and the clusters' first models."""
        return self.inner.init(weights), [
            _shuffled(weights, k) if k else weights for k in range(self._num_clusters)
        ]

    def send(self, state: Any) -> Mapping[str, Any]:
        """Send the clusters' models along."""
        inner = self.inner.send(state[0]) if hasattr(self.inner, "send") else {}
        return {**inner, "clusters": {str(k): weights for k, weights in enumerate(state[1])}}

    def train(self, turn: Turn) -> Answer:
        """Take the inner rule's turn, then train the model of the cluster that fits."""
        reply = take_turn(self.inner, turn)
        if isinstance(
            reply, Unchanged
        ):  # a party that stays silent has no say in its cluster either
            return reply
        cluster, weights = _nearest(turn)
        trained = turn.train(weights, "personal", **plain(self.local)).weights
        return replace(reply, extras={**reply.extras, "cluster": cluster, "personal": trained})

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return what the inner rule makes of the updates; average each cluster's models, weighted
        by rows.
        """
        inner, clusters = state
        means = [RunningMean() for _ in clusters]

        def passed() -> Iterator[Update]:
            for update in updates:
                means[update.extras["cluster"]].add(update.extras["personal"], update.num_examples)
                yield update

        passing = passed()
        fused, inner = self.inner.fuse(weights, passing, inner)
        for _ in passing:  # what the inner rule left unread
            pass
        return fused, (
            inner,
            [m.mean() if m.total else old for m, old in zip(means, clusters, strict=True)],
        )

    def closing(self, federation: Any) -> dict[str, Metrics]:
        """Let every party join a cluster for good, and measure the cluster's model."""
        answers = federation.ask(_join, **self.send(federation.state))
        return {answer.party: dict(answer.metrics) for answer in answers}


def _join(turn: Turn) -> Update:
    _, turn.state["personal"] = _nearest(turn)
    return replace(turn.update({}), metrics=personal(turn.score(turn.state["personal"])))


def _nearest(turn: Turn) -> tuple[int, Weights]:
    """Return the cluster whose model has the lowest loss on the party's training rows, and that
    model.
    """
    clusters: list[Weights] = list(turn.received["clusters"].values())
    losses = [turn.measure(weights)["loss"] for weights in clusters]
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


def _scored(reply: Answer, turn: Turn) -> Answer:
    """Return a reply with the metrics of the party's own model on its own test rows."""
    return replace(reply, metrics={**reply.metrics, **personal(turn.score(turn.state["personal"]))})
