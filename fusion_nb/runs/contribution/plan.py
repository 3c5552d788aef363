"""The trainings that contributions take, known before any of them starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion_nb.runs.contribution.option import MOST_EXACT, ContributionOption
from fusion_nb.runs.contribution.values import Coalition, coalitions, sample_orders


@dataclass(frozen=True)
class ContributionPlan:
    """The coalitions that are trained.

    option:  what is asked for;  parties: those that train in the run
    orders:  in which parties join, where Shapley values are sampled
    trained: the coalitions that are trained beside the run, which is that of all parties
    """

    option: ContributionOption
    parties: tuple[str, ...]
    orders: tuple[tuple[str, ...], ...]
    trained: tuple[Coalition, ...]

    @classmethod
    def of(cls, text: str, parties: Sequence[str], seed: int) -> ContributionPlan:
        """Return the plan of what an option asks for."""
        asked = ContributionOption.parse(text)
        is_sampled = "shapley" in asked.methods and len(parties) > MOST_EXACT
        orders = sample_orders(parties, asked.permutations, seed) if is_sampled else []
        everyone, needed = frozenset(parties), []
        if "shapley" in asked.methods:
            needed += coalitions(parties, orders or None)
        if "leave_one_out" in asked.methods:
            needed += [everyone - {party} for party in parties]
        if "cross_site" in asked.methods:
            needed += [frozenset([party]) for party in parties]
        trained = [each for each in dict.fromkeys(needed) if each and each != everyone]
        return cls(asked, tuple(parties), tuple(map(tuple, orders)), tuple(trained))

    @property
    def least(self) -> int:
        """The parties of the smallest coalition that is trained."""
        return min(map(len, self.trained), default=len(self.parties))

    @property
    def cost(self) -> str:
        """Its cost, as a sentence."""
        work = sum(map(len, self.trained)) / max(len(self.parties), 1)
        names = " and ".join(self.option.methods)
        sampled = f" ({len(self.orders)} orders of the parties are sampled)" if self.orders else ""
        return (
            f"contribution: {names}{sampled}: {len(self.trained)} further trainings after the last "
            f"round, about {work:.1f} times the work of the run"
        )
