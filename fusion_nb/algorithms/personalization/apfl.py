"""APFL: a mixture of the shared model and a party's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.algorithms.personalization.base import with_personal_metrics
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Answer, LocalContext, TrainingResult, Weights


class APFL(FusionWrapper):
    """Let every party use a mixture of the shared model and one of its own.

    Its own model learns to correct the shared one in the mixture.

    The mixture is alpha * own + (1 - alpha) * shared, step by step on the same batches; the fused
    model is the same as without it.

    Source: Deng, Kamani, Mahdavi, "Adaptive Personalized Federated Learning", 2020 (Algorithm 1,
    alpha fixed).
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        alpha: Annotated[
            float, Field(description="share of the party's own model in the mixture", ge=0, le=1)
        ] = 0.5,
    ) -> None:
        super().__init__(inner)
        self._alpha = alpha
        self.client_options = {**inner.client_options, "mix": None}

    def local_update(self, context: LocalContext) -> Answer:
        """Do the inner rule's local update, whose training trains the party's own model too."""
        own = context.state.get("own", context.weights)

        def train(weights: Weights, name: str = "", **options: Any) -> TrainingResult:
            if name:
                return context.train(weights, name, **options)
            result = context.train(weights, mix={"alpha": self._alpha, "own": own}, **options)
            context.state["own"] = result.extras["own"]
            context.state["personal"] = result.extras["mixed"]
            return result

        answer = self.inner.local_update(replace(context, train=train))
        return with_personal_metrics(answer, context)
