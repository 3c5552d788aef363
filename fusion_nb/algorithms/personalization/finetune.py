"""Fine-tuning: each party continues to train the fused model after the last round."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.personalization.base import personal_metrics, plain_options
from fusion_nb.core.protocols import FederationView
from fusion_nb.core.types import LocalContext, Metrics, Update


class Finetune:
    """Let every party continue to train the fused model for some epochs, after the last round.

    Source: Wang, Mathews, Kiddon, Eichner, Beaufays, Ramage, "Federated Evaluation of On-device
    Personalization", 2019.
    """

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(description="passes over a party's rows", ge=1)] = 1,
        lr: Annotated[
            float, Field(description="learning rate; 0 takes that of the run", ge=0)
        ] = 0.0,
    ) -> None:
        self._options: dict[str, Any] = {"epochs": epochs} | ({"lr": lr} if lr else {})

    def __call__(self, federation: FederationView) -> dict[str, Metrics]:
        """Let every party train the fused model, and return the metrics of the results."""
        options = self._options | plain_options(federation.client_options)
        if "steps" in federation.train_options:  # epochs count here, also where steps did before
            options["steps"] = 0
        answers = federation.ask_parties(functools.partial(_finetune, options=options))
        return {answer.party: answer.metrics for answer in answers}


def _finetune(context: LocalContext, options: Mapping[str, Any]) -> Update:
    # Parties with weights of their own start from those: they have been trained further than the
    # last common ones.
    start = context.state.get("weights", context.weights)
    own = context.train(start, "personal", **options).weights
    context.state["personal"] = own
    return replace(context.update({}), metrics=personal_metrics(context.evaluate_test(own)))
