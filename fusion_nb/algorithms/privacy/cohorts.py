"""The cohorts of a private run, as far as they can be known without looking at any row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fusion_nb.algorithms.samplings import poisson
from fusion_nb.core.protocols import SamplingContext


@dataclass(frozen=True)
class PrivateCohorts:
    """Who may take part in a round.

    parties:  those that train, in order;  seed, fraction: of the run
    chance:   of each party in each round, drawn independently and in secret (Poisson); None where
              cohorts have a fixed size, which gives no amplification: each party is then charged
              for every round that it takes part in
    cohort_seed: fixes the cohorts in place of `seed`, which fixes the noise; None for that
    """

    parties: tuple[str, ...]
    seed: int
    fraction: float = 1.0
    chance: float | None = None
    cohort_seed: int | None = None

    @property
    def expected(self) -> float:
        """The number of parties in a round, on average: it divides the sum of the updates."""
        if self.chance is not None:
            return self.chance * len(self.parties)
        return float(SamplingContext(self.parties, 1, self.seed, self.fraction).count)

    def asked(self, round: int, least: int = 1) -> tuple[str, ...]:
        """Return the parties of a round, whether their updates arrive or not.

        least: parties without which nobody is asked
        """
        seed = self.seed if self.cohort_seed is None else self.cohort_seed
        context = SamplingContext(self.parties, round, seed, self.fraction)
        drawn = context.uniform() if self.chance is None else poisson(context, q=self.chance)
        return tuple(drawn) if len(drawn) >= least else ()

    def counts(self, first: int, last: int) -> dict[str, int]:
        """Return how often each party takes part in these rounds, with cohorts of a fixed size."""
        found: Counter[str] = Counter()
        for round in range(first, last + 1):
            found.update(self.asked(round))
        return dict(found)
