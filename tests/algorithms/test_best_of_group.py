"""Model sharing: each group of similar parties adopts its best member's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from personal_runs import (
    WHOLE,
    arrays,
    gradient,
    linear,
    made,
    measured,
    same,
    trained,
    two_groups,
)

from fusion_nb.algorithms.personalization import grouping
from fusion_nb.errors import OptionError


class TestBestOfGroup:
    def test_groups_are_of_parties_whose_models_moved_alike(self, rows: Any, net: Any) -> None:
        run = trained(two_groups(rows), net(), share="best:groups=2", rounds=5)
        own = [arrays(party.model) for party in run.parties]
        assert all(same(own[0], other) for other in own[1:3])
        assert all(same(own[3], other) for other in own[4:])
        assert not same(own[0], own[3])

    @pytest.mark.parametrize(
        "key", [dict.fromkeys(("p1", "p3"), "x") | {"p2": 1, "p4": 1}, ["x", 1, "x", 1]]
    )
    def test_groups_by_a_variable(self, rows: Any, net: Any, key: Any) -> None:
        x, y = rows
        data = {f"p{i + 1}": (x[i::4], y[i::4]) for i in range(4)}
        own = [
            arrays(p.model)
            for p in trained(data, net(), {"clinic": key}, share="best:key=clinic").parties
        ]
        assert same(own[0], own[2])
        assert same(own[1], own[3])
        assert not same(own[0], own[1])

    @pytest.mark.parametrize(
        ("key", "says"),
        [
            (["x", "y"], "has 2 groups, and there are 4 parties"),
            ({"party 1": 1, "party 2": 1, "party 4": 1}, "names no group of party 3"),
            (3, "is int, and holds no group for each party"),
            (None, "clinic' is no variable of this notebook"),
        ],
    )
    def test_a_variable_of_another_form_is_refused_before_training(
        self, rows: Any, net: Any, key: Any, says: str
    ) -> None:
        with pytest.raises(OptionError, match=rf"share='best:key=.*{says}"):
            made(rows, net(), {} if key is None else {"clinic": key}, share="best:key=clinic")

    def test_more_groups_than_parties_are_refused(self, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match="groups=5', but there are 4 parties"):
            made(rows, net(), share="best:groups=5")

    def test_all_of_a_group_hold_the_best_members_own_model(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), share="best:groups=1", split="quantity:alpha=0.5", rounds=2)
        alone = {
            party.id: party.state["fusion"]["weights"]
            for party in run.federation.post_training.parties
        }
        holders = run.federation.parties
        total = sum(party.num_test for party in holders)

        def mean(name: str) -> float:
            model = run.federation.model.native(alone[name])
            return sum(p.num_test * measured(model, p.test)["accuracy"] for p in holders) / total

        best = max(alone, key=mean)
        assert len({mean(name) for name in alone}) > 1
        assert all(same(arrays(party.model), alone[best]) for party in run.parties)

    @pytest.mark.parametrize("task", ["classes", "numbers"])
    def test_a_model_is_measured_on_the_rows_that_did_not_choose_it(
        self, rows: Any, task: str
    ) -> None:
        x, y = rows
        metric, names = "accuracy", ("accuracy", "loss")
        data: Any = (x, y)
        if task == "numbers":
            metric, names, data = "loss", ("loss", "mae"), (x, x @ np.arange(5.0, dtype=np.float32))
        model = linear(1 if task == "numbers" else 3)
        run = trained(
            data, model, share="best:groups=1", split="quantity:alpha=0.5", lr=0.01, rounds=2
        )
        alone = {
            party.id: party.state["fusion"]["weights"]
            for party in run.federation.post_training.parties
        }
        adapter, holders = run.federation.model, run.federation.parties
        halves = [
            {p.id: tuple(column[i::2] for column in p.test) for p in holders} for i in range(2)
        ]

        def score(name: str, half: Any) -> dict[str, float]:
            adapter.set_weights(alone[name])
            return adapter.evaluate(half) if len(half[0]) else dict.fromkeys(names, 0.0)

        def best(half: Mapping[str, Any]) -> str:
            means = {n: sum(len(h[0]) * score(n, h)[metric] for h in half.values()) for n in alone}
            return (max if metric == "accuracy" else min)(means, key=means.__getitem__)

        chosen = [best(half) for half in halves]
        for party in run.parties:
            first, second = (half[party.id] for half in halves)
            on = [(chosen[0], second), (chosen[1], first)]
            for name in names:
                found = np.average(
                    [score(who, h)[name] for who, h in on], weights=[len(h[0]) for _, h in on]
                )
                assert party.personal[name] == pytest.approx(found)

    def test_epochs_train_the_adopted_model_on(self, rows: Any) -> None:
        options = {"rounds": 2, "split": "quantity:alpha=0.5", **WHOLE}
        plain, tuned = (
            trained(rows, linear(), share=f"best:groups=1,epochs={n}", **options) for n in (0, 2)
        )
        for party, adopted, holder in zip(
            tuned.parties, plain.parties, tuned.federation.parties, strict=True
        ):
            own = arrays(adopted.model)
            for _ in range(2):
                steep = gradient(own, holder.train)
                own = {name: array - 0.1 * steep[name] for name, array in own.items()}
            assert same(arrays(party.model), own, 1e-5)

    def test_more_rounds_continue_from_the_models_before_sharing(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), share="best", rounds=2).more(2).wait()
        assert (
            run.history["alone_loss"]
            == trained(rows, net(), baseline="local", rounds=4).history["alone_loss"]
        )

    def test_average_linkage_joins_the_most_similar_groups(self) -> None:
        similarity = grouping.cosines(list(np.random.default_rng(1).normal(size=(14, 3))))
        groups = [[i] for i in range(14)]
        for count in range(14, 1, -1):
            assert grouping.average_linkage(similarity, count) == sorted(
                sorted(group) for group in groups
            )
            pairs = [(a, b) for a in range(count) for b in range(a)]
            a, b = max(
                pairs, key=lambda pair: similarity[np.ix_(groups[pair[0]], groups[pair[1]])].mean()
            )
            groups[b] += groups.pop(a)
