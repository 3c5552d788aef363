"""Options of runs over parties that keep their rows: the curve is that of the same rows here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joined_parties import join_all, local, parties
from kept_rows import NAMES, save_net
from serving import Server

pytestmark = pytest.mark.slow

OPTIONS = {"learning_rate": 0.1, "batch_size": 8, "num_parties": 2, "rounds": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_net(tmp_path_factory.mktemp("net"))


@pytest.fixture
def trained(
    server: Server, model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[list[dict[str, Any]]]:
    """The records of a run with some options."""
    with parties(tmp_path, server) as made:
        aggregator_id = server.new_aggregator(model, **OPTIONS, **request.param)
        join_all(made, aggregator_id, count=2)
        answer = server.train(aggregator_id)
        assert answer.ok, answer.text
        for name in NAMES[:2]:
            assert made.ended(name) == 0
        yield answer.json()["history"]


@pytest.mark.parametrize(
    "trained",
    [{"personal": "ditto"}, {"personal": "finetune"}, {"compress": "int8"}],
    indirect=True,
)
def test_the_figures_are_the_local_ones(
    trained: list[dict[str, Any]], model: Path, request: pytest.FixtureRequest
) -> None:
    expected = local(model, 2, 2, **request.node.callspec.params["trained"])
    here = expected.history[-1].metrics
    there = trained[-1]["metrics"]
    assert {"loss", "accuracy"} <= there.keys()
    assert there == {name: value for name, value in here.items() if not name.startswith("alone")}


@pytest.mark.parametrize("trained", [{"fusion_algorithm": "fedbuff"}], indirect=True)
def test_updates_are_fused_as_they_come(trained: list[dict[str, Any]]) -> None:
    assert [record["round"] for record in trained] == [1, 2]
