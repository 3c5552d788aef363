"""Inner product manipulation: hostile parties send a multiple of the negated mean change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from fusion_nb.algorithms.attacks.base import Num, OmniscientPoisoning, stacked
from fusion_nb.core.types import Update, Weights


class IPM(OmniscientPoisoning):
    """Send -epsilon times the honest parties' mean change.

    With a large epsilon the mean of all changes points backwards. With a small one the forged
    weights lie near the start of the round, and may look more like those of most parties than the
    weights of honest parties do.

    Source: Xie, Koyejo, Gupta, "Fall of Empires: Breaking Byzantine-Tolerant SGD by Inner Product
    Manipulation", UAI 2019.
    """

    def __init__(
        self,
        *,
        num: Num = 1,
        epsilon: Annotated[float, Field(description="length, in mean honest changes", gt=0)] = 0.1,
    ) -> None:
        super().__init__(num=num)
        self._epsilon = epsilon

    def forged_weights(
        self, start: Weights, honest: Sequence[Update], num_hostile: int, names: Sequence[str]
    ) -> Weights:
        """Return the weights moved backwards."""
        means = {name: stacked(honest, name).mean(axis=0) for name in names}
        return {
            name: start[name] - self._epsilon * (mean - start[name]) for name, mean in means.items()
        }
