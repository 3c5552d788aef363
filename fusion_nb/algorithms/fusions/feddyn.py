"""FedDyn: dynamic regularization of every party's loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import (
    ServerUpdate,
    in_dtypes_of,
    trained_change,
    trained_zeros,
)
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean, tree_map
from fusion_nb.core.types import FederationInfo, LocalContext, Requirements, Update, Weights


class FedDyn(ServerUpdate):
    """Change every party's loss until its minimum is that of the mean loss of all parties.

    Source: Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama, "Federated Learning Based on
    Dynamic Regularization", ICLR 2021 (Algorithm 1). All parties have the same share.
    """

    not_linear = "counts the parties of a round, which keep a gradient each"
    adds_up = True
    equal_shares = True
    requires = Requirements(uses_partial_work=True)

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(description="how strongly parties are held", gt=0)] = 0.01,
    ) -> None:
        self._alpha = alpha
        self.client_options = {"mu": alpha, "shift": None}

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the aggregator's h, which is zero."""
        return {**super().init(weights, info), "h": trained_zeros(weights, info.trained)}

    def local_update(self, context: LocalContext) -> Update:
        """Train with the party's own linear term, and update that: g - alpha * change."""
        trained = context.info.trained
        own: Weights = context.state.get("gradient") or in_dtypes_of(
            context.weights, trained_zeros(context.weights, trained)
        )
        result = context.train(context.weights, shift=tree_map(np.negative, own))
        change = trained_change(result.weights, context.weights, trained)
        context.state["gradient"] = in_dtypes_of(
            context.weights, tree_map(lambda g, d: g - self._alpha * d, own, change)
        )
        return context.update(result.weights)

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the mean of the parties' weights less h / alpha, and the new h.

        The new h is the old one less alpha times the mean change over all parties.
        """
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, float(update.num_parties))
        if not mean.total:
            return weights, state
        average = mean.mean()
        change = trained_change(average, weights, state["trained"])
        share = mean.total / state["num_parties"]
        h = tree_map(lambda h, d: h - self._alpha * share * d, state["h"], change)
        step = tree_map(lambda d, h: d - h / self._alpha, change, h)
        return average | arithmetic.moved(weights, step), {**state, "h": h}
