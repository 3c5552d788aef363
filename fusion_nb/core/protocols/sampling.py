"""The contract of a sampling: which parties train in a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fusion_nb.core import seeds
from fusion_nb.core.arithmetic import round_half_up
from fusion_nb.core.history import History


@dataclass(frozen=True)
class SamplingContext:
    """The facts from which the cohort of a round is drawn.

    parties:  the ids of all parties that train, in order;  num_examples: their training rows
    round:    1 for the first;  seed: of the run
    fraction: the share of the parties that a round is meant to have
    history:  the records of the rounds before it
    seconds:  how long each party would take, where time is simulated
    """

    parties: Sequence[str]
    round: int
    seed: int
    fraction: float = 1.0
    num_examples: Mapping[str, int] = field(default_factory=dict)
    history: History = field(default_factory=History)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of parties that the fraction means, at least one."""
        return max(1, round_half_up(self.fraction * len(self.parties)))

    @property
    def rng(self) -> np.random.Generator:
        """The random generator of the round: the same for the same seed, whatever was drawn."""
        return seeds.stream(self.seed, "cohort", self.round)

    @property
    def losses(self) -> dict[str, float]:
        """The loss of each party's last training; parties that have not trained are not in it."""
        latest = self.history.latest()
        return {
            party: latest[party]["train_loss"]
            for party in self.parties
            if "train_loss" in latest.get(party, {})
        }

    def uniform(self) -> list[str]:
        """Return `count` parties, each with the same chance."""
        chosen = seeds.some(self.seed, len(self.parties), self.count, "cohort", self.round)
        return [self.parties[i] for i in chosen]


class Sampling(Protocol):
    """Returns the parties that train in a round; none lets the round pass without training.

    It is a function of its context alone, so that a run can be continued at any round.

    >>> def in_turn(context):
    ...     return [context.parties[context.round % len(context.parties)]]
    >>> in_turn(SamplingContext(["a", "b"], round=1, seed=0))
    ['b']
    """

    def __call__(self, context: SamplingContext, /) -> Sequence[str]:
        """Return the ids of the parties, in any order."""
