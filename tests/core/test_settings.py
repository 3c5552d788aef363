"""Changes of options from given rounds on."""

from __future__ import annotations

from typing import Any

from fusion_nb.algorithms.fusions.averaging import fedavg, iter_avg
from fusion_nb.core.protocols import Change
from fusion_nb.core.settings import ChangePlan, FederationConfig


def plan(changes: Any = ()) -> ChangePlan:
    config = FederationConfig({"lr": 0.1, "epochs": 1}, fraction=0.5)
    return ChangePlan(config, fedavg(), dict(changes))


def test_settings_add_up_over_the_rounds() -> None:
    other = iter_avg()
    made = plan({2: Change({"lr": 0.01}), 4: Change({"fusion": "iter_avg", "epochs": 3}, other)})
    settings = [made.settings(round) for round in range(1, 6)]
    assert [found.train_options["lr"] for found in settings] == [0.1, 0.01, 0.01, 0.01, 0.01]
    assert [found.train_options["epochs"] for found in settings] == [1, 1, 1, 3, 3]
    assert [found.fusion is other for found in settings] == [False] * 3 + [True] * 2
    assert [found.fusion_since for found in settings] == [0, 0, 0, 4, 4]
    assert "fusion" not in settings[4].train_options


def test_a_change_that_is_added_holds_from_the_round_that_begins_next() -> None:
    made = plan()
    made.add(Change({"lr": 0.5}))
    made.add(Change({"lr": 0.6, "fraction": 1.0}))
    assert made.settings(3).fraction == 0.5
    assert made.begin(3).values == {"lr": 0.6, "fraction": 1.0}
    assert made.begin(3).values == {"lr": 0.6, "fraction": 1.0}, "a round that is tried again"
    assert (made.settings(2).fraction, made.settings(3).fraction) == (0.5, 1.0)


def test_a_new_option_may_be_set() -> None:
    made = plan({1: Change({"steps": 7})})
    assert made.settings(1).train_options == {"lr": 0.1, "epochs": 1, "steps": 7}
