"""CMFL: a party sends its weights only if its change agrees with the fused model's last change."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.averaging import Averaging
from fusion_nb.algorithms.fusions.server_update import trained_change
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import tree_map
from fusion_nb.core.types import Answer, LocalContext, Requirements


class CMFL(Averaging):
    """Let a party send only if its change agrees enough with the fused model's last change.

    Relevance is the share of the trained weights whose change has the sign of the fused model's
    last change; where both are 0 they agree. Frozen weights and statistics are left out.

    Source: Wang, Wang, Li, "CMFL: Mitigating Communication Overhead for Federated Learning", ICDCS
    2019.
    """

    not_linear = "lets parties decide by their rows whether they send"
    requires = Requirements(no_update_allowed=True)

    def __init__(
        self,
        *,
        threshold: Annotated[
            float, Field(description="least relevance of what is sent; 0 sends always", ge=0, le=1)
        ] = 0.5,
        decay: Annotated[
            bool,
            Field(
                description="divide the threshold by the root of the round's number, as the "
                "paper's proof"
            ),
        ] = False,
    ) -> None:
        self._threshold, self._decay = threshold, decay

    def local_update(self, context: LocalContext) -> Answer:
        """Train, and send the weights if their change is relevant."""
        state, trained = context.state, context.info.trained
        seen, direction = state.get("seen"), state.get("direction")
        if seen is not None and not arithmetic.equal(seen, context.weights):
            direction = tree_map(np.sign, trained_change(context.weights, seen, trained))
            state["direction"] = tree_map(lambda sign: sign.astype(np.int8), direction)
        state["seen"] = context.weights
        result = context.train(context.weights)
        if direction is None:
            return context.update(result.weights)
        signs = tree_map(np.sign, trained_change(result.weights, context.weights, trained))
        agreeing = sum(int((signs[name] == direction[name]).sum()) for name in direction)
        relevance = agreeing / max(1, sum(array.size for array in direction.values()))
        threshold = self._threshold / (np.sqrt(context.round) if self._decay else 1.0)
        if relevance >= threshold:
            return context.update(result.weights)
        return context.no_update(1 - relevance)
