"""The contract of a skew: how parties' rows differ beyond which of them each party has."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fusion_nb.core.rounds.drift import Drift


@dataclass(frozen=True)
class Place:
    """A party among others, and the spread of the numbers in the rows of all of them.

    number:    0 for the first party;  num_parties: of all
    rng:       the party's own random stream
    is_image:  whether a row has three or more dimensions with that of the rows, as images have
    low, high: the least and the greatest number in any row
    scale:     for images `high - low`, or else each column's standard deviation
    centre:    for images the middle between `low` and `high`, or else each column's mean
    """

    number: int
    num_parties: int
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    is_image: bool = False
    low: float = 0.0
    high: float = 1.0
    scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    centre: np.ndarray = field(default_factory=lambda: np.zeros(1))


class Skew:
    """Makes parties' data unlike before or after a split divides it; the defaults change nothing.

    It is written before a split, as `rotation:angle=90+dirichlet:alpha=0.3`; alone it goes with
    `iid`. A skew of your own is a class derived from this one under `@fusion_nb.split`.

    >>> class Louder(Skew):
    ...     "Multiply the numbers of each party by its place."
    ...     def rows(self, x, place):
    ...         return x * (place.number + 1)
    >>> Louder().rows(np.ones(2), Place(number=1, num_parties=3))
    array([2., 2.])
    """

    def kept(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the positions of the rows that are divided; the others are left out."""
        return np.arange(len(labels))

    def rows(self, x: np.ndarray, place: Place) -> np.ndarray:
        """Return the rows that a party has in place of `x`, in floating numbers of any type."""
        return x

    def drift(self, labels: np.ndarray, place: Place) -> Drift | None:
        """Return which of its training rows a party has in each round; None for all of them."""
        return None

    def describe(self, num_parties: int) -> str:
        """Return a sentence for the user about what it does to that number of parties."""
        return ""
