"""Which of a metric's values is the best, by its declaration, and the names that it can't have."""

from __future__ import annotations

from typing import Any

import pytest

import fusion_nb
from fusion_nb.errors import OptionError

pytest.importorskip("sklearn")
from added_metrics import yes_or_no

OPTIONS: dict[str, Any] = {"parties": 3, "rounds": 4, "lr": 0.3}


def costs(labels: Any, scores: Any) -> float:
    return float(((scores > 0.5) != labels).sum())


# "top_", "f1_" and "recall" begin or end the names of metrics that are better when higher.
@pytest.mark.parametrize("name", ["top_cost", "f1_cost", "missed_recall"])
def test_a_metric_that_is_better_when_lower_by_any_name(net: Any, name: str) -> None:
    fusion_nb.metric(name=name, higher_is_better=False)(costs)
    run = fusion_nb.federate(
        net(5, 1), yes_or_no(), **OPTIONS | {"metrics": name, "monitor": name, "personal": "ditto"}
    )
    values = run.history[name]
    assert min(values) < max(values)
    assert run.best.value == min(values)
    assert run.history.best(f"personal_{name}").metrics[f"personal_{name}"] == min(
        run.history[f"personal_{name}"]
    )
    worst = max(party.fused[name] for party in run.parties)
    assert run.parties.worst(name, "fused").fused[name] == worst


def test_a_metric_that_is_defined_anew_the_other_way(net: Any) -> None:
    fusion_nb.metric(name="changed", higher_is_better=True)(costs)
    options = OPTIONS | {"metrics": "changed", "monitor": "changed"}
    run = fusion_nb.federate(net(5, 1), yes_or_no(), **options)
    assert run.best.value == max(run.history["changed"])
    fusion_nb.metric(name="changed", higher_is_better=False)(costs)
    again = fusion_nb.federate(net(5, 1), yes_or_no(), **options)
    assert again.best.value == min(again.history["changed"]) < run.best.value


@pytest.mark.parametrize("name", ["loss", "train_loss", "local_cost", "personal_accuracy"])
def test_a_name_of_another_number_of_a_round_is_refused(net: Any, name: str) -> None:
    fusion_nb.metric(name=name)(costs)
    with pytest.raises(OptionError, match=f"a metric can't be called {name}"):
        fusion_nb.federate(net(5, 1), yes_or_no(), **OPTIONS | {"metrics": name})
