"""Multi-Krum: the mean of the parties that are nearest to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.krum import mean_of_best
from fusion_nb.algorithms.fusions.robust import RobustFusion, counted
from fusion_nb.core.types import Requirements, Update, Weights


class MultiKrum(RobustFusion):
    """Average the m parties that are nearest to others: those with the best scores.

    A score is the sum of the squared distances to the n - f - 2 nearest others, and the least is
    best. It tolerates f hostile parties of n, which must be at least 2f + 3. With m the number of
    parties it is iter_avg.

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017 (Multi-Krum; by default m = n - f, as in its
    experiments).
    """

    name = "multikrum"
    hint = "a smaller m leaves some parties out"

    def __init__(
        self,
        *,
        f: Annotated[int, Field(description="hostile parties that it tolerates", ge=0)] = 1,
        m: Annotated[
            int, Field(description="parties that are averaged; 0: all that answered but f", ge=0)
        ] = 0,
    ) -> None:
        self._f, self._m = f, m
        self.requires = Requirements(min_updates=max(2 * f + 3, m))

    def combine(
        self, weights: Weights, updates: Sequence[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the mean of the parties with the best scores."""
        taken = self._m or len(updates) - self._f
        left_out = max(0, len(updates) - taken)
        return mean_of_best(weights, updates, self._f, taken), counted(state, left_out)
