"""Weights, metrics, and the replies that a party sends back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

#: Every entry of a model's state by name, BatchNorm statistics and integer counters included.
Weights = dict[str, np.ndarray]
#: The kinds of weights: numbers that can be averaged, statistics that can be added up, and trees.
WeightsKind = Literal["numbers", "statistics", "trees"]
#: Plain numbers by name: `loss`, `accuracy`, `mae`, `train_loss`, ...
Metrics = dict[str, float]
#: Metrics by party.
PartyMetrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Update:
    """A party's weights after local training, and the `num_examples` rows that they rest on.

    `weights` is empty where a request asks for metrics or extras only. `metrics` holds `train_loss`
    and other metrics of the training (`train_accuracy`), and those of the trained weights on the
    party's own test rows, where they are measured (`local_loss`, `local_accuracy`). `extras`
    carries what one fusion needs beyond weights, such as control variates or word counts.
    """

    party: str
    weights: Weights
    num_examples: int
    metrics: Metrics = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_parties(self) -> int:
        """The number of parties that it stands for."""
        return 1


@dataclass(frozen=True)
class MeanUpdate(Update):
    """The mean of several parties' updates, as a rule around another hands it on.

    parties: those in the mean, with the shares that the inner rule gives them. No party sends one:
             an aggregator makes it of what it received.
    """

    parties: tuple[str, ...] = ()

    @property
    def num_parties(self) -> int:
        """The number of parties that it stands for."""
        return len(self.parties)


@dataclass(frozen=True)
class NoUpdate:
    """A party's report that it trained and has nothing worth sending this round.

    divergence: how far its weights are from those that it started from, as its fusion measures it
    extras:     the few numbers that it reports in place of weights
    """

    party: str
    num_examples: int
    divergence: float = 0.0
    metrics: Metrics = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A party's failure, which is a reply and not an exception of the loop.

    error:     one line;  traceback: the text that a person debugs with
    exception: the object itself where the party lives in this process, None where it came over a
               wire
    """

    party: str
    error: str
    traceback: str = field(default="", repr=False)
    exception: BaseException | None = field(default=None, compare=False, repr=False)


#: The reply of a party that did not fail.
Answer = Update | NoUpdate
Reply = Answer | Failure
