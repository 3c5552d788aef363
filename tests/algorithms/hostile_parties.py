"""Honest and hostile parties of a small round, and runs with an attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from linear_parties import info_of

from fusion_nb import Run, RunSpec
from fusion_nb.core import registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.types import Failure, Reply, RoundRequest, Update, Weights
from fusion_nb.runs.build import build


def spec_of(**options: Any) -> RunSpec:
    defaults: dict[str, Any] = {"data": "data", "lr": 0.1, "rounds": 3, "parties": 6}
    return RunSpec(**defaults | options)


def run_of(rows: Any, net: Any, **options: Any) -> Run:
    return Run(spec_of(**options), {"model": net(), "data": rows})


def federation_of(rows: Any, net: Any, **options: Any) -> Federation:
    return build(spec_of(**options), {"model": net(), "data": rows})


#: Each party's change of `w` in a round.
CHANGES = {
    "one": [1.0, 2.0],
    "bad": [9.0, -9.0],
    "two": [3.0, 2.0],
    "evil": [0.5, 0.0],
    "three": [5.0, -1.0],
}

BEGIN: Weights = {
    "w": np.array([10.0, 20.0], np.float32),
    "norm.mean": np.array([1.0], np.float32),
    "norm.count": np.array(5, np.int64),
}

HONEST = np.array([CHANGES[party] for party in ("one", "two", "three")])


def replies(*absent: str) -> list[Reply]:
    return [
        Failure(party, "gone")
        if party in absent
        else Update(
            party,
            {
                "w": BEGIN["w"] + np.array(change, np.float32),
                "norm.mean": np.array([2.0], np.float32),
                "norm.count": np.array(6, np.int64),
            },
            7,
            {"train_loss": 0.5},
            {"control": change},
        )
        for party, change in CHANGES.items()
    ]


def request_of(round: int = 1, weights: Weights = BEGIN) -> RoundRequest:
    """The request of a round that starts from these weights."""
    return RoundRequest(round, weights, {}, {"epochs": 3}, seed=0, info=info_of(weights))


def sent(text: str, given: Sequence[Reply], round: int = 1, attack: Any = None) -> list[Reply]:
    """The replies that arrive where "bad" and "evil" are hostile."""
    attack = attack or registry.create("adversaries", text)
    return list(attack.forge(iter(given), request_of(round), ("bad", "evil"), frozenset({"w"})))


def change_of(reply: Reply) -> list[float]:
    assert isinstance(reply, Update)
    return list((reply.weights["w"] - BEGIN["w"]).tolist())
