"""Masks with some neighbours: the graph, its size, sums with drop-outs, and a thousand parties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")

from fusion_nb.algorithms.secure import steps
from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.algorithms.secure.neighbours import graph, safe_count
from fusion_nb.core import registry
from fusion_nb.core.types import FederationInfo, LocalContext, TrainingResult, Update, Weights
from fusion_nb.errors import FusionError, PartyError

START: Weights = {"w": np.zeros((3, 4), np.float32), "b": np.zeros(2, np.float32)}


def change(party: int) -> Weights:
    rng = np.random.default_rng(party)
    return {name: rng.normal(size=a.shape).astype(np.float32) for name, a in START.items()}


class Round:
    """One round of parties whose training adds known changes; lost: step -> who drops out."""

    def __init__(self, count: int, lost: dict[str, list[int]] | None = None, **options: Any):
        self.rule = Masks(registry.create("fusions", "iter_avg"), **options)
        self.names = [f"p{i}" for i in range(count)]
        self.lost = {step: {f"p{i}" for i in gone} for step, gone in (lost or {}).items()}
        self.secrets: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        self.given: dict[str, Any] = {}

    def train(self) -> Weights:
        info = FederationInfo(len(self.names), tuple(START), frozenset(START))
        updates = [self.update(i, name, info) for i, name in enumerate(self.names)]
        state = self.rule.init(START, info)
        result, self.state = self.rule.aggregate_in_steps(START, iter(updates), state, self.ask, 1)
        return result

    def update(self, i: int, name: str, info: FederationInfo) -> Update:
        context = LocalContext(
            party=name, round=1, weights=START, broadcast={}, state={}, num_examples=10,
            num_test=0, info=info, evaluate_train=lambda weights: {},
            train=lambda weights, **_: TrainingResult(change(i), {}, 1, 0.1),
            evaluate_test=lambda weights, rows=slice(None): {}, secrets=self.secrets[name],
        )  # fmt: skip
        answer = self.rule.local_update(context)
        assert isinstance(answer, Update)
        return answer

    def ask(self, name: str, step: Any, given: Any, least: int) -> dict[str, Any]:
        self.given[name] = given
        asked = [party for party in given if party not in self.lost.get(name, ())]
        return {party: step(party, self.secrets[party], given[party]) for party in asked}

    def mean(self, left_out: list[int]) -> Weights:
        left = [i for i in range(len(self.names)) if i not in left_out]
        return {name: np.mean([change(i)[name] for i in left], axis=0) for name in START}


class TestGraph:
    @pytest.mark.parametrize(("count", "degree"), [(5, 2), (10, 4), (50, 10), (101, 40)])
    def test_each_has_as_many_neighbours_and_they_have_each_other(
        self, count: int, degree: int
    ) -> None:
        names = [f"p{i}" for i in range(count)]
        found = graph(names, degree)
        assert [*found] == names
        for party, peers in found.items():
            assert len({*peers}) == degree + 1
            assert party in peers
            assert all(party in found[peer] for peer in peers)
            assert peers == sorted(peers, key=names.index)

    @pytest.mark.parametrize(("count", "degree"), [(5, 0), (5, 4), (5, 10)])
    def test_all_are_neighbours_where_there_are_few(self, count: int, degree: int) -> None:
        names = [f"p{i}" for i in range(count)]
        assert graph(names, degree) == dict.fromkeys(names, names)

    def test_it_is_another_one_in_each_round(self) -> None:
        names = [f"p{i}" for i in range(50)]
        assert graph(names, 10) != graph(names, 10)

    @pytest.mark.parametrize("share", [0.6, 0.7, 0.9])
    def test_a_safe_number_grows_slowly(self, share: float) -> None:
        counts = [safe_count(n, share) for n in (300, 1000, 3000)]
        assert counts == sorted(counts)
        assert 20 < counts[-1] < 300
        assert counts[-1] < 3 * counts[0], "of ten times the parties"

    def test_few_parties_are_all_neighbours(self) -> None:
        assert [safe_count(n, 0.7) for n in (3, 10, 30)] == [0, 0, 0]


class TestSums:
    @pytest.mark.parametrize("neighbours", [0, 4, 6, 12])
    @pytest.mark.parametrize("step", ["share", "send masked changes", "reveal"])
    def test_they_are_right_with_a_drop_out(self, neighbours: int, step: str) -> None:
        made = Round(13, {step: [3]}, neighbours=neighbours, threshold=0.6)
        found = made.train()
        expected = made.mean([] if step == "reveal" else [3])
        assert all(np.allclose(found[name], expected[name], atol=1e-5) for name in START)

    def test_a_party_is_told_of_its_neighbours_alone(self) -> None:
        made = Round(20, neighbours=6)
        made.train()
        assert {len(told["peers"]) for told in made.given["share"].values()} == {7}

    def test_a_neighbourhood_with_too_few_ends_the_round(self) -> None:
        made = Round(9, {"reveal": [1, 2]}, neighbours=2, threshold=0.7)
        with pytest.raises(PartyError, match="shares of a secret of"):
            made.train()

    @pytest.mark.parametrize("neighbours", [3, -2, 5])
    def test_an_odd_number_is_refused(self, neighbours: int) -> None:
        with pytest.raises(FusionError, match="neighbours"):
            registry.bind("secure", f"masks:neighbours={neighbours}")

    @pytest.mark.slow
    def test_a_thousand_parties(self) -> None:
        made = Round(1000, {"send masked changes": [7, 500]}, neighbours=40)
        found = made.train()
        expected = made.mean([7, 500])
        assert all(np.allclose(found[name], expected[name], atol=1e-4) for name in START)
        assert made.state["costs"]["neighbours"] == 40
        assert not any(kept.get(steps.KEPT, {}).keys() - {"step"} for kept in made.secrets.values())
