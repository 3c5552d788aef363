"""Parties that keep their rows, end to end: three programs, a server and its training process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from joined_parties import join_all, local, parties
from kept_rows import NAMES, save_net
from serving import Server

from fusion_nb.service.client import Client

OPTIONS = {"learning_rate": 0.1, "batch_size": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_net(tmp_path_factory.mktemp("net"))


def test_the_weights_are_the_local_ones_and_parties_end_with_the_run(
    server: Server, model: Path, tmp_path: Path
) -> None:
    with parties(tmp_path, server) as made:
        aggregator_id = server.new_aggregator(model, num_parties=2, rounds=3, **OPTIONS)
        join_all(made, aggregator_id, count=2)
        answer = server.train(aggregator_id)
        assert answer.ok, answer.text
        status = server.status(aggregator_id)
        assert any("where their rows stay" in note for note in status["notes"])
        with Client(server.url) as client:
            weights = client.weights(aggregator_id)
        expected = local(model, 3, 2)
        assert [r["metrics"]["loss"] for r in answer.json()["history"]] == expected.history["loss"]
        assert weights.keys() == expected.weights.keys()
        assert all(np.array_equal(weights[name], expected.weights[name]) for name in weights)
        for name in NAMES[:2]:
            assert made.ended(name) == 0
            assert "no row has left this machine" in made.said(name)
