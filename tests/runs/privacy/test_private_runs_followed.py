"""Private runs as others follow them: trackers, comparisons, exports, and resumed ledgers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fusion_nb
from fusion_nb import Run
from fusion_nb.core.protocols import TrackedEnd, TrackedRun, Tracker
from fusion_nb.core.types import Metrics
from fusion_nb.errors import RunError

CENTRAL = {"parties": 4, "rounds": 3, "lr": 0.1, "privacy": "central:clip=1,noise=2"}


class Epsilons(Tracker):
    """Keeps epsilon of each round, and the options that a run was begun with."""

    made: list[Epsilons] = []  # noqa: RUF012  one for each test

    def __init__(self) -> None:
        self.rounds: dict[int, float] = {}
        self.made.append(self)

    def start(self, run: TrackedRun) -> None:
        self.params = dict(run.params)

    def log(self, round: int, metrics: Metrics) -> None:
        self.rounds[round] = metrics["epsilon"]

    def end(self, ending: TrackedEnd) -> None:
        self.last = ending.metrics["epsilon"]


@pytest.mark.parametrize("kind", ["central", "local", "rows"])
def test_a_tracker_is_told_epsilon_by_round(net: Any, rows: Any, kind: str) -> None:
    if kind == "rows":
        pytest.importorskip("opacus")
        pytest.importorskip("dp_accounting")
    Epsilons.made.clear()
    fusion_nb.tracker(name="epsilons")(Epsilons)
    options = CENTRAL | {"privacy": f"{kind}:clip=1,noise=2"}
    run = fusion_nb.federate(net(), rows, log="epsilons", **options).wait()
    (tracker,) = (each for each in Epsilons.made if each.rounds)
    assert [*tracker.rounds] == [1, 2, 3]
    assert [*tracker.rounds.values()] == run.history["epsilon"]
    assert tracker.last == run.history["epsilon"][-1]
    assert tracker.params["privacy"] == f"{kind}:clip=1,noise=2"


def test_settings_are_compared_by_what_they_spent(net: Any, rows: Any) -> None:
    options = CENTRAL | {"rounds": 2}
    del options["privacy"]
    made = fusion_nb.sweep(
        net(),
        rows,
        privacy=["central:clip=1,noise=2", "central:clip=1,noise=8"],
        seeds="0-1",
        **options,
    )
    low, high = made.compare().curves(["loss"], "epsilon")
    assert max(low.x) > max(high.x) > 0
    (axis,) = {axis.get_xlabel() for axis in made.plot("epsilon").figure.axes}
    assert axis == "epsilon"


def test_a_card_and_an_export_state_what_was_spent(
    run_of: Callable[..., Run], net: Any, tmp_path: Path
) -> None:
    run = run_of(net(), **CENTRAL).start().wait()
    run.export(tmp_path / "out")
    card = (tmp_path / "out" / "CARD.md").read_text(encoding="utf-8")
    for told in ("neighbours are two federations", "delta 1e-05", "does not cover", "trusted"):
        assert told in card
    kept = json.dumps(json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8")))
    assert f"epsilon {run.history['epsilon'][-1]:.4g}" in kept


@pytest.mark.parametrize("secure", ["", "masks"])
@pytest.mark.parametrize("budget", ["budget=5", "noise=auto:epsilon=5"])
def test_a_resumed_run_knows_its_budget(
    net: Any, rows: Any, tmp_path: Path, secure: str, budget: str
) -> None:
    if secure:
        pytest.importorskip("cryptography")
    privacy = f"central:clip=1,noise=2.5,{budget}"
    privacy = f"central:clip=1,{budget}" if "auto" in budget else privacy
    options = CENTRAL | {"privacy": privacy, "secure": secure}
    folder, module = tmp_path / "kept", net()
    run = fusion_nb.federate(module, rows, checkpoint=str(folder), **options).wait()
    again = fusion_nb.resume(str(folder), model=module, data=rows)
    assert again.history["epsilon"] == run.history["epsilon"]
    for each in (run, again):
        with pytest.raises(RunError, match="the budget of this run is 5"):
            each.more(5)
    if "auto" not in budget:
        assert again.more(1).wait().history["epsilon"] == run.more(1).wait().history["epsilon"]
