"""FedAsync: the aggregator mixes in each update as it arrives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.asynchronous_mixing import (
    Staleness,
    Time,
    between,
    checked_time,
    weigher,
)
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.protocols import Arrival, Asynchronous
from fusion_nb.core.types import Weights


class FedAsync(Asynchronous):
    """Mix each update into the weights as soon as it arrives; the staler it is, the less.

    new = (1 - share) * old + share * update, with share = alpha * weight. A round is one update,
    unless `buffer` asks for more, whose mixtures are averaged by rows. Over Flower it takes updates
    in real time, as they come.

    Source: Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019 (Algorithm 1).
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(description="share of a fresh update", gt=0, le=1)] = 0.6,
        concurrency: Annotated[
            int,
            Field(description="parties under way at a time; 0: the fraction of a cohort", ge=0),
        ] = 0,
        staleness: Staleness = "polynomial",
        a: Annotated[
            float, Field(description="how fast a stale update's weight falls", ge=0)
        ] = 0.5,
        b: Annotated[int, Field(description="hinge: staleness with the whole weight", ge=0)] = 4,
        mu: Annotated[
            float, Field(description="proximal term that holds parties near their start", ge=0)
        ] = 0.0,
        buffer: Annotated[int, Field(description="updates in a round", ge=1)] = 1,
        time: Time = "",
    ) -> None:
        self.buffer, self.concurrency = buffer, concurrency
        self.time = checked_time(time)
        self._alpha, self._weigh = alpha, weigher(staleness, a, b)
        self.client_options: Mapping[str, Any] = {"mu": mu} if mu else {}

    def mix(
        self, weights: Weights, arrivals: Iterator[Arrival], trained: frozenset[str]
    ) -> Weights:
        """Return the weights with the updates mixed in."""
        mean = RunningMean()
        for arrival in arrivals:
            share = self._alpha * self._weigh(arrival.staleness)
            mixture = between(weights, arrival.update.weights, share)
            mean.add(mixture, arrival.update.num_examples)
        return mean.mean() if mean.total else weights
