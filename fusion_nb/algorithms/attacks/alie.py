"""A Little Is Enough: hostile parties hide within the spread of the honest ones."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated

from pydantic import Field

from fusion_nb.algorithms.attacks.base import Num, OmniscientPoisoning, stacked
from fusion_nb.core.types import Update, Weights


class ALIE(OmniscientPoisoning):
    """Send, for every number, the honest parties' mean less z of their standard deviations.

    The forged numbers are too near to the mean to be cut off.

    Without a z, the largest with which enough honest parties are farther from the mean than the
    hostile ones: of n updates, f of them hostile, floor(n / 2 + 1) - f; it is 0, and there is no
    attack, where f is too small for that.

    Source: Baruch, Baruch, Goldberg, "A Little Is Enough: Circumventing Defenses For Distributed
    Learning", NeurIPS 2019. There hostile parties know only their own honest weights; here they
    know all honest weights.
    """

    def __init__(
        self,
        *,
        num: Num = 1,
        z: Annotated[
            float, Field(description="standard deviations; 0: computed as in the paper", ge=0)
        ] = 0.0,
    ) -> None:
        super().__init__(num=num)
        self._z = z

    def forged_weights(
        self, start: Weights, honest: Sequence[Update], num_hostile: int, names: Sequence[str]
    ) -> Weights:
        """Return the mean less z standard deviations."""
        z = self._z or largest_z(len(honest) + num_hostile, num_hostile)
        values = {name: stacked(honest, name) for name in names}
        return {name: entry.mean(axis=0) - z * entry.std(axis=0) for name, entry in values.items()}


def largest_z(num_parties: int, num_hostile: int) -> float:
    """Return how many standard deviations from the mean hostile parties hide, as in the paper."""
    num_honest = num_parties - num_hostile
    supporters = num_parties // 2 + 1 - num_hostile
    share = (num_honest - max(1, supporters)) / num_honest
    return NormalDist().inv_cdf(share) if share > 0.5 else 0.0
