"""A model whose weights grow from round to round, as trees do: the model checks their form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_runs import ClassMeans

from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.settings import FederationConfig
from fusion_nb.core.types import TrainingResult
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import ContractError


class Stumps(ClassMeans):
    """Adds one number, a "tree", in every training: the mean of what is left to explain."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {"trees": np.zeros(0)}

    def check_weights(self, found: Any, expected: Any, *, partial: bool = False) -> str:
        if len(found["trees"]) < len(expected["trees"]):
            return "it lost trees"
        return ""

    def fit(self, data: Any, **options: Any) -> TrainingResult:
        left = float(data[1].mean() - self.weights["trees"].sum())
        self.weights = {"trees": np.append(self.weights["trees"], left)}
        return TrainingResult(self.get_weights(), self.evaluate(data), 1, float("nan"))

    def evaluate(self, data: Any) -> Any:
        return {"loss": float(((data[1] - self.weights["trees"].sum()) ** 2).mean())}


class Bagging(Fusion):
    """Keep the trees that there are, and append the mean of the new ones."""

    def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
        new = [update.weights["trees"][len(weights["trees"]) :] for update in updates]
        return {"trees": np.concatenate([weights["trees"], np.mean(new, axis=0)])}, state


class Losing(Fusion):
    """Return no tree at all."""

    def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
        list(updates)
        return {"trees": np.zeros(0)}, state


def federation(rows: Any, fusion: Fusion) -> Federation:
    parties = [Party(f"p{i}", (rows[0][i::3], rows[1][i::3]), rows) for i in range(3)]
    config = FederationConfig({"epochs": 1, "batch_size": 1, "lr": None, "optimizer": ""})
    return Federation(parties, Stumps(), fusion, LocalEngine(), config)


def test_weights_may_grow(rows: Any) -> None:
    made = federation(rows, Bagging())
    losses = [record.metrics["loss"] for record in made.rounds(3)]
    assert made.weights["trees"].shape == (3,)
    assert losses[0] == pytest.approx(np.var(rows[1]))
    assert made.weights["trees"].sum() == pytest.approx(rows[1].mean())


def test_the_model_refuses_weights_by_its_own_rule(rows: Any) -> None:
    begun = federation(rows, Bagging())
    list(begun.rounds(1))
    made = federation(rows, Losing())
    assert made.state is None
    continued = Federation(
        made.parties,
        made.model,
        Losing(),
        LocalEngine(),
        made.config,
        state=begun.state,
        history=begun.history,
    )
    with pytest.raises(ContractError, match="unusable weights in round 2: it lost trees"):
        list(continued.rounds(1))
