"""Noise that differs from party to party."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core.protocols import Place, Skew


class FeatureNoise(Skew):
    """Add Gaussian noise to the numbers, none at the first party and the most at the last.

    Party i of N has noise of the standard deviation sigma * i / (N - 1), counted from 0: of the
    range of all numbers for images, and of each column's standard deviation otherwise.

    Source: Li, Diao, Chen, He, "Federated Learning on Non-IID Data Silos: An Experimental Study",
    ICDE 2022 (noise-based feature imbalance; the division by N - 1 is that of its code).
    """

    def __init__(
        self,
        *,
        sigma: Annotated[float, Field(description="noise of the last party", gt=0)] = 0.1,
    ) -> None:
        self._sigma = sigma

    def rows(self, x: np.ndarray, place: Place) -> np.ndarray:
        """Return the rows with noise."""
        level = self._sigma * place.number / max(1, place.num_parties - 1)
        return x + level * place.scale * place.rng.standard_normal(x.shape) if level else x

    def describe(self, num_parties: int) -> str:
        """Return the levels of the first and of the last party."""
        return f"noise of 0 at the first party, rising to {self._sigma:g} at the last one"
