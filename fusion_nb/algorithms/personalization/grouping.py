"""Groups of parties: as a variable of the user says, or by how alike their models moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Weights
from fusion_nb.errors import OptionError, option


def groups_by_key(key: Any, parties: Sequence[str]) -> list[list[str]]:
    """Return the groups of parties with the same value of a mapping, or of a list in party order.

    Raises OptionError where there is no value for a party.

    >>> groups_by_key(["x", "y", "x"], ["a", "b", "c"])
    [['a', 'c'], ['b']]
    """
    given = option("share", "best:key=...")
    if not isinstance(key, Mapping):
        if not isinstance(key, Sized):
            raise OptionError(
                f"{given} is {type(key).__name__}, and holds no group for each party",
                "give a dict, or a list in the order of the parties",
            )
        if len(key) != len(parties):
            raise OptionError(
                f"{given} has {len(key)} groups, and there are {len(parties)} parties",
                "give one for each party",
            )
        values: Any = key
        key = dict(zip(parties, values, strict=True))
    if missing := [party for party in parties if party not in key]:
        raise OptionError(f"{given} names no group of {missing[0]}", "give one for each party")
    groups: dict[str, list[str]] = {}
    for party in parties:
        groups.setdefault(str(key[party]), []).append(party)
    return list(groups.values())


def groups_by_change(
    models: Mapping[str, Weights], start: Weights, num_groups: int
) -> list[list[str]]:
    """Return groups of parties whose models moved in similar directions since `start`."""
    parties = list(models)
    changes = [arithmetic.change(weights, start) for weights in models.values()]
    vectors = [np.concatenate([a.ravel() for a in change.values()]) for change in changes]
    return [[parties[i] for i in group] for group in average_linkage(cosines(vectors), num_groups)]


def cosines(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the cosine between each two of several vectors."""
    stacked = np.stack(vectors)
    unit = stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-300)
    return np.asarray(unit @ unit.T)


def average_linkage(similarity: np.ndarray, num_groups: int) -> list[list[int]]:
    """Return the given number of groups of positions, by average linkage.

    At first every position is a group. The two groups with the largest mean similarity are joined
    again and again.

    >>> average_linkage(np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]]), 2)
    [[0, 1], [2]]
    """
    from scipy.cluster.hierarchy import cut_tree, linkage

    count = len(similarity)
    if num_groups >= count:
        return [[i] for i in range(count)]
    merges = linkage(1 - similarity[np.triu_indices(count, 1)], "average")
    # `fcluster` cuts at a height, and so gives fewer groups where two merges have the same one.
    labels = cut_tree(merges, n_clusters=num_groups)[:, 0]
    return sorted(np.flatnonzero(labels == label).tolist() for label in np.unique(labels))
