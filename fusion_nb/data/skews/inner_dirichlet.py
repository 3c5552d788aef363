"""Parties of given sizes, each with a mix of classes of its own."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.data.splits import Parts, need_classes, until_none_empty


def inner_dirichlet(
    labels: np.ndarray,
    num_parties: int,
    rng: np.random.Generator,
    *,
    alpha: Annotated[
        float, Field(description="how even a party's classes are: 100 is nearly iid", gt=0)
    ] = 0.5,
    quantity: Annotated[
        float,
        Field(description="how even the sizes are, as alpha of quantity; 0: all alike", ge=0),
    ] = 0.0,
) -> Parts:
    """Draw each party's mix of classes from a Dirichlet distribution, for parties of given sizes.

    With dirichlet the sizes follow from the draws; here they are equal, or drawn by themselves.
    Where a class is used up, a party takes more of its others.

    Source: Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama, "Federated Learning Based on
    Dynamic Regularization", ICLR 2021 (appendix; the name is Flower's).
    """
    need_classes(labels, "inner_dirichlet")
    found, member = np.unique(labels, return_inverse=True)

    def draw() -> Parts:
        even = np.full(num_parties, 1 / num_parties)
        shares = rng.dirichlet(np.full(num_parties, quantity)) if quantity else even
        ends = (np.cumsum(shares) * len(labels)).round().astype(int)
        sizes = np.diff(ends, prepend=0)
        pools = [list(rng.permutation(np.flatnonzero(member == i))) for i in range(len(found))]
        parts: Parts = [np.empty(0, dtype=np.int64)] * num_parties
        for party in rng.permutation(num_parties):
            mix = rng.dirichlet(np.full(len(found), alpha))
            parts[party] = _taken(pools, mix, int(sizes[party]), rng)
        return parts

    return until_none_empty(draw)


def _taken(
    pools: list[list[int]], mix: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Take rows out of the classes' pools in the proportions of a mix, as far as they reach."""
    taken: list[int] = []
    while len(taken) < size:
        left = np.array([len(pool) for pool in pools])
        chances = np.where(left > 0, mix, 0.0)
        if chances.sum() <= 0:  # only classes are left of which the party has nothing
            chances = left.astype(float)
        for pool, count in zip(
            pools, rng.multinomial(size - len(taken), chances / chances.sum()), strict=True
        ):
            taken += [pool.pop() for _ in range(min(count, len(pool)))]
    return rng.permutation(np.array(taken, dtype=np.int64))
