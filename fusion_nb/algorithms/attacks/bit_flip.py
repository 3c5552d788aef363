"""Bit flipping: hostile parties send the negated change."""

from __future__ import annotations

import numpy as np

from fusion_nb.algorithms.attacks.base import IndependentPoisoning


class BitFlip(IndependentPoisoning):
    """Send the negated change, which undoes honest training.

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via
    Bucketing", ICLR 2022 (bit flipping).
    """

    def forged_change(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the negated change."""
        return -change
