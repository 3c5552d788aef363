"""Attacks of simulated hostile parties, one file each."""

from fusion_nb.algorithms.attacks.base import hostile

__all__ = ["hostile"]
