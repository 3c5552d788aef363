"""Gaussian noise on the weights of hostile parties."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.attacks.base import IndependentPoisoning, Num


class Noise(IndependentPoisoning):
    """Add Gaussian noise to the honest weights, of a standard deviation sigma.

    Source: after Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries:
    Byzantine Tolerant Gradient Descent", NeurIPS 2017, where hostile parties send noise alone.
    """

    def __init__(
        self,
        *,
        num: Num = 1,
        sigma: Annotated[float, Field(description="its standard deviation", gt=0)] = 1.0,
    ) -> None:
        super().__init__(num=num)
        self._sigma = sigma

    def forged_change(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the change with noise."""
        return change + rng.normal(0.0, self._sigma, change.shape)
