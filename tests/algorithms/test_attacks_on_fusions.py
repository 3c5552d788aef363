"""Robust rules and attacks together, and faults beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hostile_parties import CHANGES, change_of, replies, request_of, run_of

from fusion_nb.algorithms.attacks import hostile
from fusion_nb.core import registry, seeds
from fusion_nb.core.types import Reply, Request, Update
from fusion_nb.engines.faults import FaultyEngine, Stragglers
from fusion_nb.engines.local import LocalEngine


class Canned(LocalEngine):
    """An engine whose parties always send the same."""

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        yield from (reply for reply in replies() if reply.party in cohort)


class TestAttacksOnFusions:
    @pytest.mark.parametrize(
        "adversary", ["sign_flip:4", pytest.param("ipm:4,epsilon=5", marks=pytest.mark.slow)]
    )
    def test_the_mean_fails_where_robust_rules_learn(
        self, rows: Any, net: Any, adversary: str
    ) -> None:
        options: dict[str, Any] = {"adversary": adversary, "parties": 12, "rounds": 15}
        reached = {
            fusion: run_of(rows, net, fusion=fusion, **options)
            .start()
            .wait()
            .history["accuracy"][-1]
            for fusion in (
                "iter_avg",
                "median",
                "krum:f=4",
                "geometric_median",
                "centered_clip",
                "trimmed_mean:0.4",
            )
        }
        assert reached.pop("iter_avg") < 0.4
        assert all(accuracy > 0.6 for accuracy in reached.values()), reached

    def test_krum_chooses_forged_weights_near_the_start_of_the_round(
        self, rows: Any, net: Any
    ) -> None:
        options: dict[str, Any] = {"adversary": "ipm:4,epsilon=0.1", "parties": 12, "rounds": 15}
        krum, median = (
            run_of(rows, net, fusion=fusion, **options).start().wait().history["accuracy"][-1]
            for fusion in ("krum:f=4", "geometric_median")
        )
        assert krum < 0.3 < 0.6 < median

    @pytest.mark.parametrize("adversary", ["label_flip:2", "ipm:2", "noise:2", "mimic:2"])
    @pytest.mark.parametrize("fusion", ["median", "bucketing:s=2+geometric_median", "fedprox"])
    def test_faults_of_all_kinds_at_once_depend_on_the_seed_alone(
        self, rows: Any, net: Any, adversary: str, fusion: str
    ) -> None:
        options: dict[str, Any] = {
            **{
                "adversary": adversary,
                "fusion": fusion,
                "dropout": 0.3,
                "straggler": "0.3:epochs=1",
            },
            **{"epochs": 2, "parties": 8, "rounds": 4},
        }
        runs = [run_of(rows, net, **options).start().wait() for _ in range(2)]
        assert runs[0].history["loss"] == runs[1].history["loss"]
        assert (
            runs[0].history["loss"]
            != run_of(rows, net, **options, seed=1).start().wait().history["loss"]
        )
        errors = {failure.error for failure in runs[0].failures}
        assert "dropped out (simulated)" in errors
        assert ("was too slow (simulated)" in errors) == (fusion != "fedprox")
        for record in runs[0].history:
            trained = [
                party
                for party in record.cohort
                if "train_loss" in record.party_metrics.get(party, {})
            ]
            lost = {failure.party for failure in record.failures}
            assert trained == [party for party in record.cohort if party not in lost]

    def test_forged_replies_of_those_who_answer_come_in_the_order_of_the_cohort(self) -> None:
        engine = FaultyEngine(
            Canned(),
            seed=3,
            dropout=0.4,
            stragglers=Stragglers(0.2),
            attack=registry.create("adversaries", "ipm:2,epsilon=1"),
            hostile=("bad", "evil"),
        )
        seen = set()
        for number in range(1, 20):
            found = list(engine.run(request_of(number), list(CHANGES)))
            assert [reply.party for reply in found] == list(CHANGES)
            there = [reply for reply in found if isinstance(reply, Update)]
            honest = [CHANGES[reply.party] for reply in there if reply.party not in ("bad", "evil")]
            for reply in there:
                if reply.party in ("bad", "evil") and honest:
                    assert change_of(reply) == pytest.approx(
                        list(-np.mean(honest, axis=0)), abs=1e-5
                    )
            seen.add(len(there))
        assert len(seen) > 2

    def test_as_many_parties_are_spared_from_faults_as_the_rule_needs(
        self, rows: Any, net: Any
    ) -> None:
        options: dict[str, Any] = {"parties": 8, "rounds": 12, "dropout": 0.6}
        needy = run_of(rows, net, fusion="krum:f=2", **options).start().wait()
        answered = [len(record.cohort) - len(record.failures) for record in needy.history]
        assert len(answered) == 12
        assert min(answered) == 7
        free = run_of(rows, net, fusion="median", **options).start().wait()
        assert min(len(record.cohort) - len(record.failures) for record in free.history) < 7

    def test_parties_with_the_least_chance_of_dropping_out_are_spared(
        self, rows: Any, net: Any
    ) -> None:
        run = run_of(rows, net, fusion="krum:f=0", dropout=0.99, rounds=5).start().wait()
        for record in run.history:
            chance = {
                p: seeds.stream(0, "dropout", record.round, p).random() for p in record.cohort
            }
            lost = {failure.party for failure in record.failures}
            assert (
                set(sorted(record.cohort, key=chance.__getitem__)[-3:]) == set(record.cohort) - lost
            )

    def test_hostile_parties_that_are_not_in_the_cohort_do_nothing(
        self, rows: Any, net: Any
    ) -> None:
        options: dict[str, Any] = {"fraction": 0.5, "rounds": 6, "quorum": 1.0}
        attacked, honest = (
            run_of(rows, net, adversary=a, **options).start().wait() for a in ("sign_flip:1", "")
        )
        (bad,) = hostile([party.id for party in honest.parties], 1, 0)
        first = next(i for i, record in enumerate(honest.history) if bad in record.cohort)
        assert attacked.history["loss"][:first] == honest.history["loss"][:first]
        assert attacked.history["loss"][first] != honest.history["loss"][first]
