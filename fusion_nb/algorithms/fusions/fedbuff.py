"""FedBuff: the aggregator fuses as soon as a few updates have arrived."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from fusion_nb.algorithms.fusions.asynchronous_mixing import (
    Staleness,
    Time,
    as_if_fresh,
    between,
    checked_time,
    weigher,
)
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.protocols import Arrival, Asynchronous
from fusion_nb.core.types import Weights


class FedBuff(Asynchronous):
    """Wait for a buffer of updates, and never for a slow party.

    new = old + lr * the mean of weight * change. Parties are weighted by their rows, as with
    fedavg, where Algorithm 1 as printed has the bare mean. With equal times, and as many updates as
    parties under way, it is fedavg. Over Flower it takes updates in real time, as they come.

    Source: Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, "Federated Learning with Buffered
    Asynchronous Aggregation", AISTATS 2022 (Algorithm 1).
    """

    def __init__(
        self,
        *,
        buffer: Annotated[
            int,
            Field(description="updates that a round waits for; 0: half of those under way", ge=0),
        ] = 0,
        concurrency: Annotated[
            int,
            Field(description="parties under way at a time; 0: the fraction of a cohort", ge=0),
        ] = 0,
        lr: Annotated[float, Field(description="learning rate of the aggregator", gt=0)] = 1.0,
        staleness: Staleness = "polynomial",
        a: Annotated[
            float, Field(description="how fast a stale update's weight falls", ge=0)
        ] = 0.5,
        b: Annotated[int, Field(description="hinge: staleness with the whole weight", ge=0)] = 4,
        time: Time = "",
    ) -> None:
        self.buffer, self.concurrency = buffer, concurrency
        self.time = checked_time(time)
        self._lr, self._weigh = lr, weigher(staleness, a, b)

    def mix(
        self, weights: Weights, arrivals: Iterator[Arrival], trained: frozenset[str]
    ) -> Weights:
        """Return the weights moved along the buffer's mean change."""
        mean = RunningMean()
        for sent, num_examples in as_if_fresh(weights, arrivals, self._weigh, trained):
            mean.add(sent, num_examples)
        return between(weights, mean.mean(), self._lr) if mean.total else weights
