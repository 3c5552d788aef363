"""Ditto: a second model at each party, held near the fused one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.algorithms.personalization.base import plain_options, with_personal_metrics
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Answer, LocalContext


class Ditto(FusionWrapper):
    """Let every party train a second model of its own, held near the fused one.

    Its loss has the term lambda / 2 * squared distance from the fused model.

    The fused model is the same as without it. A party trains twice in a round.

    Source: Li, Hu, Beirami, Smith, "Ditto: Fair and Robust Federated Learning Through
    Personalization", ICML 2021.
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        lambda_: Annotated[
            float, Field(description="how strongly it is held; 0 is training alone", ge=0)
        ] = 0.1,
    ) -> None:
        super().__init__(inner)
        self._lambda = lambda_
        self.client_options = {"mu": 0.0, "anchor": None, **inner.client_options}

    def local_update(self, context: LocalContext) -> Answer:
        """Do the inner rule's local update, then continue to train the party's own model."""
        answer = self.inner.local_update(context)
        own = context.state.get("personal", context.weights)
        held = {"mu": self._lambda, "anchor": context.weights}
        options = plain_options(self.client_options) | held
        context.state["personal"] = context.train(own, "personal", **options).weights
        return with_personal_metrics(answer, context)
