"""Sign flipping: hostile parties send the negated change, made larger."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.attacks.base import IndependentPoisoning, Num


class SignFlip(IndependentPoisoning):
    """Send the negated change, made larger: -scale times the honest change.

    Source: Li, Xu, Chen, Giannakis, Ling, "RSA: Byzantine-Robust Stochastic Aggregation Methods for
    Distributed Learning from Heterogeneous Datasets", AAAI 2019 (sign flipping, there of the
    message itself, times -4).
    """

    def __init__(
        self,
        *,
        num: Num = 1,
        scale: Annotated[float, Field(description="how much larger", gt=0)] = 4.0,
    ) -> None:
        super().__init__(num=num)
        self._scale = scale

    def forged_change(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the change times -scale."""
        return -self._scale * change
