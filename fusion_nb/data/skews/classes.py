"""A few classes for each party."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.data.splits import Parts, need_classes, until_none_empty
from fusion_nb.errors import SplitError, option


def classes(
    labels: np.ndarray,
    num_parties: int,
    rng: np.random.Generator,
    *,
    per_party: Annotated[int, Field(description="classes that each party has", ge=1)] = 2,
    quantity: Annotated[
        float,
        Field(
            description="how evenly parties share a class, as alpha of quantity; 0: evenly", ge=0
        ),
    ] = 0.0,
) -> Parts:
    """Give each party a number of classes, and divide each class among the parties that have it.

    Source: Li, Diao, Chen, He, "Federated Learning on Non-IID Data Silos: An Experimental Study",
    ICDE 2022 (quantity-based label imbalance, #C=k). Classes are dealt out so that each has an
    owner and as many as the others.
    """
    need_classes(labels, "classes")
    found = np.unique(labels)
    held = len(found) if num_parties == 1 else min(per_party, len(found))
    if num_parties * held < len(found):
        raise SplitError(
            f"{num_parties} parties with {held} classes each can't have all {len(found)} classes",
            f"use more {option('parties')}, or a larger per_party",
            option="split",
            value="classes",
        )

    def draw() -> Parts:
        owners: list[list[int]] = [[] for _ in found]
        for party in range(num_parties):
            # Those with the fewest owners first, in random order where these are equally many.
            order = sorted(rng.permutation(len(found)), key=lambda i: len(owners[i]))
            for chosen in order[:held]:
                owners[chosen].append(party)
        parts: list[list[np.ndarray]] = [[] for _ in range(num_parties)]
        for label, sharing in zip(found, owners, strict=True):
            rows = rng.permutation(np.flatnonzero(labels == label))
            even = np.full(len(sharing), 1 / len(sharing))
            shares = rng.dirichlet(np.full(len(sharing), quantity)) if quantity else even
            cuts = (np.cumsum(shares)[:-1] * len(rows)).round().astype(int)
            for party, chunk in zip(sharing, np.split(rows, cuts), strict=True):
                parts[party].append(chunk)
        return [rng.permutation(np.concatenate(part)) for part in parts]

    return until_none_empty(draw)
