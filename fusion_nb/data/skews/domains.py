"""Groups of parties whose numbers were measured differently."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core import seeds
from fusion_nb.core.protocols import Place, Skew


class Domains(Skew):
    """Change scale and offset of the numbers, alike for all parties of a domain.

    Party i belongs to domain i modulo `count`; the first domain stays as it is. In the others each
    column, or all pixels of an image alike, become (x - c) * gain + c + offset, as if another
    device had measured them. For a column c is the mean; gain is exp of a normal number times
    strength, and offset a normal number times strength and the standard deviation. For images c is
    the middle of the range, and offset a share of half the range.

    Source: the feature shift of Li, Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID
    Features via Local Batch Normalization", ICLR 2021, with drawn domains in place of data sets.
    """

    def __init__(
        self,
        *,
        count: Annotated[int, Field(description="domains", ge=2)] = 2,
        strength: Annotated[float, Field(description="how unlike they are", gt=0)] = 0.5,
    ) -> None:
        self._count, self._strength = count, strength

    def rows(self, x: np.ndarray, place: Place) -> np.ndarray:
        """Return the rows as the party's domain measures them."""
        domain = place.number % self._count
        if not domain:
            return x
        shape = () if place.is_image else x.shape[1:]
        # The same for all parties of the domain: a stream of the domain, not of the party.
        rng = seeds.stream(0, "domain", domain)
        gain = np.exp(self._strength * rng.standard_normal(shape))
        offset = self._strength * rng.standard_normal(shape) * (0.5 if place.is_image else 1.0)
        return (x - place.centre) * gain + place.centre + offset * place.scale

    def describe(self, num_parties: int) -> str:
        """Return how many domains there are."""
        count = min(self._count, num_parties)
        return f"{count} domains, at one party after the other; the first is unchanged"
