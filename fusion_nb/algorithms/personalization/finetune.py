"""What follows the last round: the fused model, trained on at each party."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.personalization.personal import personal, plain
from fusion_nb.core.federation import Federation
from fusion_nb.core.types import Metrics, Turn, Update


class Finetune:
    """Let every party train the fused model on for some epochs, after the last round.

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
        self._options: dict[str, Any] = {"epochs": epochs, "steps": 0} | ({"lr": lr} if lr else {})

    def __call__(self, federation: Federation) -> dict[str, Metrics]:
        """Give every party a turn to train the fused model on, and return the metrics of what they
        made of it.
        """
        options = self._options | plain(federation.fusion.local)
        if "steps" not in federation.orders:
            options.pop("steps")
        answers = federation.ask(functools.partial(_finetune, options=options))
        return {answer.party: answer.metrics for answer in answers}


def _finetune(turn: Turn, options: Mapping[str, Any]) -> Update:
    # Of parties that go on with weights of their own, those have learnt more than what they had
    # last in common.
    start = turn.state.get("weights", turn.weights)
    turn.state["personal"] = turn.train(start, "personal", **options).weights
    return replace(turn.update({}), metrics=personal(turn.score(turn.state["personal"])))
