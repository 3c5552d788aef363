"""Sums of the parties' statistics, for models that follow exactly from sums over all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import LocalContext, Requirements, Update, Weights, WeightsKind


class Sum(Fusion):
    """Add up the parties' statistics: the model is then that of all rows together.

    Parties send sums over their own rows (counts, sums, squares, products), from which the model
    follows as from the rows themselves. Entries that no party sends stay as they are.

    Source: the "summation form" of Chu et al., "Map-Reduce for Machine Learning on Multicore",
    NeurIPS 2006.
    """

    not_linear = "adds up statistics, which have no limit to clip them to"
    requires = Requirements(full_participation=True, partial_updates=True)
    fuses: frozenset[WeightsKind] = frozenset({"statistics"})
    client_options: Mapping[str, Any] = MappingProxyType({"statistics": True})

    def local_update(self, context: LocalContext) -> Update:
        """Send the party's statistics, and nothing else."""
        result = context.train(context.weights)
        return context.update(dict(result.extras.get("statistics", {})))

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights, with the sums in the place of the entries that parties sent."""
        sums: dict[str, np.ndarray] = {}
        for update in updates:
            for name, array in update.weights.items():
                sums[name] = sums[name] + array if name in sums else array.copy()
        return weights | {n: a.astype(weights[n].dtype) for n, a in sums.items()}, state
