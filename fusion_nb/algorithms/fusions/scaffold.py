"""SCAFFOLD: control variates against client drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import (
    ServerUpdate,
    effective_step_size,
    in_dtypes_of,
    trained_change,
    trained_zeros,
)
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean, tree_map
from fusion_nb.core.types import FederationInfo, LocalContext, Requirements, Update, Weights


class Scaffold(ServerUpdate):
    """Correct every party's gradient by control variates.

    These are the difference between the mean direction of all parties and the party's own.

    A party sends twice the bytes of its weights: the change of its control variate too. All parties
    have the same share.

    Source: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled
    Averaging for Federated Learning", ICML 2020 (option II). The paper has plain SGD; with momentum
    a step moves further than lr, and the distance is divided by the effective step size, where
    several implementations divide by the number of steps alone.
    """

    not_linear = "sends control variates beside the weights"
    adds_up = True
    equal_shares = True
    requires = Requirements(plain_sgd=True, effective_step_size=True)
    client_options: Mapping[str, Any] = MappingProxyType({"shift": None})

    def __init__(
        self,
        *,
        lr: Annotated[float, Field(description="learning rate of the aggregator", gt=0)] = 1.0,
    ) -> None:
        self._lr = lr

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the aggregator's control variate, which is zero."""
        control = in_dtypes_of(weights, trained_zeros(weights, info.trained))
        return {**super().init(weights, info), "control": control}

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return the aggregator's control variate."""
        return {"control": state["control"]}

    def local_update(self, context: LocalContext) -> Update:
        """Train with the corrected gradient, and update the party's control variate."""
        server: Weights = context.broadcast["control"]
        own: Weights = context.state.get("control") or arithmetic.zeros_like(server)
        result = context.train(context.weights, shift=tree_map(np.subtract, server, own))
        change = trained_change(result.weights, context.weights, context.info.trained)
        step_size = effective_step_size(result)
        # c_i - c + (x - y_i) / (steps * lr), less c_i
        difference = in_dtypes_of(
            context.weights, tree_map(lambda c, d: -c - d / step_size, server, change)
        )
        context.state["control"] = tree_map(np.add, own, difference)
        return context.update(result.weights, control=difference)

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights moved along the mean change, and the new control variate.

        It is moved by the cohort's share of the changes of the parties' control variates.
        """
        mean, controls = RunningMean(), RunningMean()
        for update in updates:
            mean.add(update.weights, float(update.num_parties))
            control = tree_map(lambda c: c.astype(np.float64), update.extras["control"])
            controls.add(control, float(update.num_parties))
        if not mean.total:
            return weights, state
        average = mean.mean()
        change = trained_change(average, weights, state["trained"])
        step = tree_map(lambda c: self._lr * c, change)
        share = mean.total / state["num_parties"]
        control = tree_map(
            lambda c, d: (c + share * d).astype(c.dtype), state["control"], controls.mean()
        )
        return average | arithmetic.moved(weights, step), {**state, "control": control}
