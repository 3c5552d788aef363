"""The learning rate of each round: that of the run times a factor, which a schedule gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fusion_nb.core.rounds.schedule import Schedule
from fusion_nb.errors import ContractError


@dataclass(frozen=True)
class LrSchedule:
    """A function of the round that gives the factor of the learning rate.

    name:   how messages call it
    factor: of (round, rounds): the number of a round, from 1, and of the last one
    begins_anew: whether it looks at the number of rounds; it then begins anew over rounds that are
            added, since those before them are trained already
    """

    name: str
    factor: Callable[[int, int], float]
    begins_anew: bool = True

    def lr(self, base: float, round: int, planned: Schedule) -> float:
        """Return the learning rate of a round. Raises ContractError where it is no rate.

        base: the rate without a schedule;  planned: the rounds of the run, and those added to it

        >>> halving = LrSchedule("halving", lambda round, rounds: 0.5 ** (round - 1), False)
        >>> halving.lr(0.1, 2, Schedule([(0, 4)]))
        0.05
        """
        begin, length = planned.fall(round)
        number = min(round - begin, length) if self.begins_anew else round
        found = self.factor(number, length)
        is_number = isinstance(found, int | float) or hasattr(found, "__float__")
        rate = base * float(found) if is_number else math.nan
        if not (math.isfinite(rate) and rate > 0):
            raise ContractError(
                f"the schedule {self.name} of the learning rate gives {found!r} for round {round}",
                "return a factor > 0 of the learning rate, such as 0.5",
            )
        return rate
