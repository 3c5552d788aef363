"""The loop: cohorts, aggregation, evaluation and records of whole rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from core_runs import run_of
from torch import nn

from fusion_nb import RunSpec, fusion
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.process.machine import num_cores
from fusion_nb.core.protocols import Change, Fusion
from fusion_nb.core.types import Update
from fusion_nb.models.torch.adapter import TorchModel
from fusion_nb.runs.build import build


class TestRounds:
    def test_a_run_learns_and_every_record_is_whole(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=15).start().wait()
        assert [record.round for record in run.history] == list(range(1, 16))
        assert run.history["accuracy"][-1] > 0.9 > run.history["accuracy"][0]
        size = sum(p.numel() * 4 for p in net().parameters())
        assert all(record.bytes_up == record.bytes_down == 4 * size for record in run.history)
        assert set(run.history[-1].party_metrics["party 1"]) == {
            "train_loss",
            "local_loss",
            "local_accuracy",
            "loss",
            "accuracy",
        }

    def test_one_party_is_plain_training(self, rows: Any, net: Any) -> None:
        federated = run_of(rows, net(), parties=1, rounds=3, epochs=2).start().wait()
        steps = run_of(rows, net(), parties=1, rounds=3, epochs=2, fusion="iter_avg").start().wait()
        assert federated.history["loss"] == steps.history["loss"]

    def test_same_seed_same_curve_and_another_seed_another(self, rows: Any, net: Any) -> None:
        dropout = nn.Sequential(*net(), nn.Dropout(0.3))
        curves = [
            run_of(rows, dropout, seed=s, fraction=0.5).start().wait().history["loss"]
            for s in (3, 3, 4)
        ]
        assert curves[0] == curves[1] != curves[2]

    def test_the_fused_model_is_the_weighted_mean_of_the_parties(self, rows: Any, net: Any) -> None:
        seen: list[Update] = []

        @fusion
        def spying(weights: Any, updates: Any) -> Any:
            seen.extend(updates)
            total = sum(update.num_examples for update in seen)
            return {
                name: sum(
                    u.weights[name].astype(np.float64) * (u.num_examples / total) for u in seen
                ).astype(np.float32)
                for name in weights
            }

        options = {"rounds": 1, "split": "quantity:alpha=1"}
        mine = run_of(rows, net(), fusion="spying", **options).start().wait()
        theirs = run_of(rows, net(), **options).start().wait()
        for name, tensor in theirs.model.state_dict().items():
            assert np.allclose(tensor, mine.model.state_dict()[name], atol=1e-7)
        assert len({update.num_examples for update in seen}) > 1

    def test_a_cohort_is_a_function_of_seed_and_round(self, rows: Any, net: Any) -> None:
        namespace = {"model": net(), "data": rows}
        first, again = (
            build(RunSpec(data="data", parties=20, fraction=0.25, seed=9), namespace)
            for _ in range(2)
        )
        cohorts = [first.cohort(round) for round in range(1, 9)]
        assert cohorts == [again.cohort(round) for round in range(1, 9)]
        assert {len(cohort) for cohort in cohorts} == {5}
        assert len(set(cohorts)) > 4
        order = [party.id for party in first.parties]
        assert all(list(cohort) == sorted(cohort, key=order.index) for cohort in cohorts)
        assert len(build(RunSpec(data="data", fraction=0.01), namespace).cohort(1)) == 1

    def test_a_change_of_the_fraction_holds_from_its_round_on(self, rows: Any, net: Any) -> None:
        federation = build(RunSpec(data="data", parties=8), {"model": net(), "data": rows})
        next(federation.rounds(1))
        federation.plan.add(Change({"fraction": 0.5, "lr": 0.5}))
        record = next(federation.rounds(1))
        assert [len(federation.cohort(round)) for round in (1, 2, 3)] == [8, 4, 4]
        assert record.changes == {"fraction": 0.5, "lr": 0.5}
        assert federation.train_options["lr"] == 0.5
        assert federation.config.train_options["lr"] != 0.5

    def test_batch_norm_is_averaged_with_its_counters(self, rows: Any) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        run = run_of(rows, model, rounds=6, parties=5, split="dirichlet:alpha=1").start().wait()
        assert run.history["accuracy"][-1] > 0.8
        assert run.model.state_dict()["1.num_batches_tracked"].dtype == torch.int64
        assert int(run.model.state_dict()["1.num_batches_tracked"]) > 6

    def test_memory_does_not_grow_with_parties(
        self, rows: Any, net: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alive, most = 0, 0

        class Counted(dict):  # type: ignore[type-arg]
            def __init__(self, *given: Any) -> None:
                nonlocal alive, most
                super().__init__(*given)
                alive += 1
                most = max(most, alive)

            def __del__(self) -> None:
                nonlocal alive
                alive -= 1

        original = TorchModel.fit

        def counting_fit(self: TorchModel, *args: Any, **options: Any) -> Any:
            from dataclasses import replace

            result = original(self, *args, **options)
            return replace(result, weights=Counted(result.weights))

        monkeypatch.setattr(TorchModel, "fit", counting_fit)
        federation = build(RunSpec(data="data", parties=60), {"model": net(), "data": rows})
        next(federation.rounds(1))
        # Those that each core has finished ahead, however many parties there are.
        assert 0 < most <= 3 + 3 * num_cores()


class TestEvaluation:
    def test_a_central_test_set_is_what_counts(self, rows: Any, net: Any) -> None:
        x, y = rows
        run = run_of(((x[:200], y[:200]), (x[200:], y[200:])), net(), rounds=1).start().wait()
        with torch.no_grad():
            right = run.model(torch.tensor(x[200:])).argmax(1).numpy() == y[200:]
        assert run.history["accuracy"][-1] == pytest.approx(right.mean())

    def test_without_one_the_rows_of_all_parties_count(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=1, split="quantity:alpha=0.5").start().wait()
        tests = [(p.num_test, p.fused["loss"]) for p in run.parties]
        assert run.history["loss"][-1] == pytest.approx(
            np.average([m for _, m in tests], weights=[n for n, _ in tests])
        )

    def test_it_happens_every_few_rounds_and_always_at_the_end(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=5, evaluate_every=3)
        lines: list[str] = []
        run.subscribe(lambda run: lines.append(repr(run)))
        history = run.start().wait().history
        assert not any("nan" in line for line in lines)
        assert np.isnan(history["accuracy"]).tolist() == [True, True, False, True, False]

    @pytest.mark.parametrize("has_test", [False, True])
    def test_it_takes_some_rows_and_all_at_the_end(
        self, rows: Any, net: Any, has_test: bool
    ) -> None:
        x, y = rows
        parties = {"a": (x[:40], y[:40]), "b": (x[40:], y[40:])}
        data = (parties, (x[::3], y[::3])) if has_test else rows
        every, some = (
            run_of(data, net(), rounds=4, seed=1, evaluate_rows=n).start().wait() for n in (0, 5)
        )
        assert every.history["train_loss"] == some.history["train_loss"]
        assert every.history["loss"][:-1] != some.history["loss"][:-1]
        assert every.history["loss"][-1] == some.history["loss"][-1]
        assert every.records[-1].party_metrics == some.records[-1].party_metrics
        again = run_of(data, net(), rounds=4, seed=1, evaluate_rows=5).start().wait()
        assert again.history["loss"] == some.history["loss"]
        if has_test:  # of five rows
            assert all(round(5 * value, 6).is_integer() for value in some.history["accuracy"][:-1])


class TestWholeRounds:
    def test_a_fusion_that_writes_into_its_arguments_changes_no_earlier_round(
        self, rows: Any, net: Any
    ) -> None:
        @fusion
        def scribbling(weights: Any, updates: Any) -> Any:
            first = next(iter(updates)).weights
            for name, array in weights.items():
                array[...] = first[name]
            return weights

        copied: list[Any] = []
        kept: list[Any] = []
        run = run_of(rows, net(), fusion="scribbling", rounds=3)
        run.subscribe(lambda run: copied.append({n: a.copy() for n, a in run.weights.items()}))
        run.subscribe(lambda run: kept.append(run.weights))
        run.start().wait()
        assert all(
            np.array_equal(own[n], then[n])
            for own, then in zip(kept, copied, strict=True)
            for n in own
        )

    def test_workers_are_released_and_start_again(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=1).start().wait()
        assert len(run.more(1).wait().history) == 2

    def test_a_class_is_a_fusion_with_a_state(self, rows: Any, net: Any) -> None:
        class Rounds(Fusion):
            def init(self, weights: Any, info: Any) -> list[int]:
                return [info.num_parties]

            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
                mean = weighted_mean(updates, lambda update: update.num_examples)
                return mean, [*state, state[-1] + 1]

        fusion(Rounds)
        federation = build(RunSpec(data="data", fusion="Rounds"), {"model": net(), "data": rows})
        list(federation.rounds(2))
        assert federation.state is not None
        assert (federation.state.round, federation.state.fusion_state) == (2, [4, 5, 6])

    def test_client_options_that_the_model_cannot_honour_are_refused(
        self, rows: Any, net: Any
    ) -> None:
        from fusion_nb.errors import OptionError

        class Warm(Fusion):
            client_options = {"warmth": 0.1}  # noqa: RUF012

            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
                return weights, state

        fusion(Warm)
        with pytest.raises(
            OptionError, match="asks every party for warmth, which a PyTorch model can't do"
        ):
            run_of(rows, net(), fusion="Warm")
