"""Round 0: parties agree on a model before the first round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_runs import ClassMeans, mean_of_means

from fusion_nb.algorithms.fusions.base import stateless
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.settings import FederationConfig
from fusion_nb.engines.local import LocalEngine


@pytest.fixture
def parties(rows: Any) -> list[Party]:
    thirds = [slice(80 * i, 80 * (i + 1)) for i in range(3)]
    return [
        Party(f"p{i}", (rows[0][third], rows[1][third]), rows) for i, third in enumerate(thirds)
    ]


def federation(parties: list[Party], **options: Any) -> Federation:
    rule = stateless(mean_of_means)()
    config = FederationConfig({"epochs": 1, "batch_size": 1, "lr": None, "optimizer": ""})
    return Federation(parties, ClassMeans(), rule, LocalEngine(), config, **options)


def test_parties_agree_before_the_first_round(rows: Any, parties: list[Party]) -> None:
    made = federation(parties)
    assert made.state is None
    record = next(made.rounds(1))
    largest = float(np.abs(rows[0]).max())
    assert [party.state["scale"] for party in parties] == [largest] * 3
    expected = np.stack([rows[0][rows[1] == label].mean(0) / largest for label in range(3)])
    assert np.allclose(made.weights["means"], expected, atol=1e-3)
    assert record.metrics["loss"] < 1


def test_a_new_model_agrees_again_and_parties_keep_their_states(parties: list[Party]) -> None:
    begun = federation(parties)
    next(begun.rounds(1))
    for party in parties:
        party.state["mark"] = party.id
    states = [party.persistent_state for party in parties]
    continued = federation(parties, state=begun.state, history=begun.history)
    next(continued.rounds(1))
    assert [record.round for record in continued.history] == [1, 2]
    assert [state[0]["mark"] for state in states] == [party.id for party in parties]
    assert [party.state["mark"] for party in parties] == [party.id for party in parties]


def test_a_party_that_is_away_in_round_0_ends_the_run(parties: list[Party]) -> None:
    parties[1].train = None
    made = federation(parties)
    with pytest.raises(TypeError):
        next(made.rounds(1))
    assert [failure.party for failure in made.round_failures] == ["p1"]
    assert made.state is None
