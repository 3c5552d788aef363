"""A fusion, an engine or an adapter that breaks its contract is named in one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from core_runs import ClassMeans, run_of
from torch import nn

from fusion_nb import fusion
from fusion_nb.core import registry
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.protocols import Engine, Fusion, Synchronising
from fusion_nb.core.replies import ReadOnce, in_cohort_order
from fusion_nb.core.types import (
    EvaluateRequest,
    Failure,
    RoundRequest,
    TrainingResult,
    Update,
)
from fusion_nb.errors import ContractError, FusionError, OptionError
from fusion_nb.models import lookup
from fusion_nb.models.base import Model


def update(party: str) -> Update:
    return Update(party, {}, 1)


def by_row(weights: Any, updates: Any) -> Any:
    return weighted_mean(updates, lambda each: each.num_examples)


class Mean(Fusion):
    def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
        return by_row(weights, updates), state


class InOrder(Engine):
    """The toy of the contract."""

    def start(self, parties: Any, model: Any, gate: Any) -> None:
        self._parties = {party.id: party for party in parties}
        self._model = model.clone()
        self._model.gate = gate

    def run(self, request: Any, cohort: Any) -> Iterator[Any]:
        for party in cohort:
            self._model.gate()
            yield self._parties[party].answer(request, self._model)

    def close(self) -> None:
        self._parties = {}


class TestARuleThatWritesIntoItsWeights:
    def test_it_trains_as_one_that_returns_others(self, rows: Any, net: Any) -> None:
        @fusion(name="writes")
        def writes(weights: Any, updates: Any) -> Any:
            for name, array in by_row(weights, updates).items():
                weights[name][...] = array
            return weights

        @fusion(name="writes_too")
        class WritesToo(Fusion):
            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
                return writes(weights, updates), state

        module = net()
        expected = run_of(rows, module, fusion="fedavg").start().wait()
        for name in ("writes", "writes_too"):
            found = run_of(rows, module, fusion=name).start().wait()
            assert found.history["loss"] == expected.history["loss"]
        assert expected.history["loss"][0] != expected.history["loss"][-1]

    def test_weights_that_stay_are_not_measured_again(self, rows: Any, net: Any) -> None:
        @fusion(name="stays")
        def stays(weights: Any, updates: Any) -> Any:
            return weights

        run = run_of(rows, net(), fusion="stays").start().wait()
        assert len(set(run.history["loss"])) == 1


class TestEveryEngineGivesTheSameCurve:
    def test_the_toy_gives_the_local_curve_of_a_model_with_dropout(self) -> None:
        registry.register("engines", "toy_in_order", InOrder)
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(800, 64)).astype(np.float32), np.arange(800) % 3
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 3)
        )
        options = {"parties": 2, "rounds": 2, "batch_size": 256}
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            runs = [
                run_of(rows, module, engine=name, **options).start().wait()
                for name in ("local", "toy_in_order")
            ]
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)
        assert runs[0].history["loss"] == runs[1].history["loss"]
        assert all(np.array_equal(runs[0].weights[k], v) for k, v in runs[1].weights.items())


class TestReplies:
    @pytest.mark.parametrize(
        ("given", "line"),
        [
            (["a", "a", "b"], "answered twice for a in round 2"),
            (["a"], "did not answer for b in round 2"),
            (["b", "a"], "answered for b before a in round 2"),
            (["a", "b", "a"], "answered twice for a in round 2"),
            (["a", "c"], "answered for c, which was not asked, in round 2"),
        ],
    )
    def test_one_for_each_party_in_the_order_of_the_cohort(
        self, given: list[str], line: str
    ) -> None:
        request: Any = RoundRequest.__new__(RoundRequest)
        object.__setattr__(request, "round", 2)
        with pytest.raises(ContractError) as caught:
            list(in_cohort_order(map(update, given), ["a", "b"], request))
        assert caught.value.message == f"the engine {line}"
        assert "one reply for each party of the cohort" in caught.value.hint

    def test_only_replies(self) -> None:
        request = EvaluateRequest({})
        found = list(in_cohort_order([update("a"), Failure("b", "away")], ["a", "b"], request))
        assert [reply.party for reply in found] == ["a", "b"]
        wrong: Any = [{"party": "a"}]
        with pytest.raises(ContractError, match="yielded dict, not a reply"):
            list(in_cohort_order(wrong, ["a"], request))
        nothing: Any = None
        with pytest.raises(ContractError, match="returned NoneType, not replies"):
            list(in_cohort_order(nothing, ["a"], request))

    def test_a_run_ends_with_the_engines_fault(self, rows: Any, net: Any) -> None:
        class Backwards(InOrder):
            def run(self, request: Any, cohort: Any) -> Iterator[Any]:
                return super().run(request, cohort[::-1])

        registry.register("engines", "toy_backwards", Backwards)
        run = run_of(rows, net(), engine="toy_backwards")
        with pytest.raises(ContractError, match="answered for party 4 before party 1 in round 1"):
            run.start().wait()
        assert not run.history

    def test_updates_are_read_once(self) -> None:
        updates = ReadOnce(iter([update("a"), update("b")]))
        assert next(updates).party == "a"
        assert [each.party for each in updates] == ["b"]
        with pytest.raises(ContractError, match="read before") as caught:
            by_row({}, updates)
        assert "updates = list(updates)" in caught.value.hint


class TestValuesThatMethodsReturn:
    @pytest.mark.parametrize(
        ("local_update", "line", "hint"),
        [
            (lambda context: None, "returned NoneType, not an answer", "context.update(weights)"),
            (
                lambda context: context.train(context.weights),
                "returned TrainingResult, not an answer",
                "context.update(result.weights)",
            ),
            (
                lambda context: context.update(context.train(context.weights)),
                "takes weights, and was given a TrainingResult",
                "context.update(result.weights)",
            ),
            (lambda context: Update("b", {}, 1), "answered for b at party 1", "context.update"),
        ],
    )
    def test_of_a_local_update(
        self, rows: Any, net: Any, local_update: Any, line: str, hint: str
    ) -> None:
        class Local(Mean):
            def local_update(self, context: Any) -> Any:
                return local_update(context)

        registry.register("fusions", "toy_local", Local)
        with pytest.raises(ContractError, match=line) as caught:
            run_of(rows, net(), fusion="toy_local").start().wait()
        assert hint in caught.value.hint

    def test_of_aggregate(self, rows: Any, net: Any) -> None:
        class Bare(Fusion):
            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
                return weights

        registry.register("fusions", "toy_bare", Bare)
        with pytest.raises(ContractError, match="returned dict, not ") as caught:
            run_of(rows, net(), fusion="toy_bare").start().wait()
        assert "return weights, state" in caught.value.hint

    @pytest.mark.parametrize(
        ("method", "value", "line"),
        [
            ("fit", ({}, 1), r"fit\(\) of a .* returned tuple, not a TrainingResult"),
            ("fit", TrainingResult({}, {}, 1, 1.0), r"fit\(\) of a .* gave no 'loss'"),
            ("evaluate", 0.5, r"evaluate\(\) of a .* gave float, not metrics by name"),
            ("evaluate", {"accuracy": 1.0}, r"evaluate\(\) of a .* gave no 'loss', but accuracy"),
            ("check", None, r"check\(\) of a .* returned NoneType, not a list of sentences"),
        ],
    )
    def test_of_an_adapter(self, rows: Any, method: str, value: Any, line: str) -> None:
        class Native:
            pass

        class Wrong(ClassMeans):
            base_class = f"{Native.__module__}.{Native.__qualname__}"

            def __init__(self, native: Any) -> None:
                super().__init__()

            def fit(self, data: Any, **options: Any) -> TrainingResult:
                return TrainingResult(self.get_weights(), {"loss": 0.5}, 1, 1.0)

        lookup.model_adapter(name="toy_wrong")(Wrong)
        setattr(Wrong, method, lambda *args, **options: value)
        with pytest.raises(FusionError, match=line):
            run_of(rows, Native()).start().wait()


class TestForms:
    def test_old_names_are_refused_beside_new_ones(self) -> None:
        class Mixed(Mean):
            local: ClassVar[dict[str, float]] = {"mu": 0.1}

        class Older(Fusion):
            def fuse(self) -> None: ...

        with pytest.raises(OptionError, match="earlier form") as caught:
            fusion(Mixed)
        assert "local -> client_options" in caught.value.hint
        with pytest.raises(OptionError, match="defines no aggregate") as caught:
            fusion(Older)
        assert "fuse -> aggregate" in caught.value.hint

    def test_wrong_parameters_say_how_to_write_them(self) -> None:
        class Short(Mean):
            def init(self, weights: Any) -> Any: ...  # type: ignore[override]

        with pytest.raises(OptionError, match=r"init\(self, weights\) can't be called") as caught:
            fusion(Short)
        assert caught.value.hint == "write def init(self, weights, info)"

        class NoGate(InOrder):
            def start(self, parties: Any, model: Any) -> None: ...  # type: ignore[override]

        with pytest.raises(OptionError, match=r"start\(self, parties, model\)"):
            registry.register("engines", "no_gate", NoGate)

    def test_facts_of_a_class_have_their_types(self) -> None:
        class Demands(Mean):
            requires: ClassVar[Any] = {"plain_sgd": True}

        with pytest.raises(OptionError, match="requires is dict, not Requirements"):
            fusion(Demands)

    def test_a_synchronising_rule_says_what_parties_do(self) -> None:
        class Half(Synchronising):
            def select_senders(self, reports: Any, state: Any) -> Any: ...

            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any: ...

        with pytest.raises(OptionError, match="defines no local_update"):
            fusion(Half)

    def test_a_base_class_is_no_component(self) -> None:
        with pytest.raises(OptionError, match="Engine is the base class"):
            registry.register("engines", "base", Engine)

    @pytest.mark.parametrize(
        ("name", "value", "line"),
        [
            ("metrics", "loss", "metrics is str, not tuple"),
            ("supported_options", ["batch_size"], "supported_options is list, not frozenset"),
            ("supported_options", frozenset({"loss"}), "names 'loss', which no run gives to fit"),
            ("supported_client_options", frozenset({"mu"}), "names 'mu', and its fit has no"),
            ("save", lambda self, path: None, r"save\(self, path\) can't be called as"),
            ("fit", lambda self, data, epochs: None, r"fit\(self, data, epochs\) can't be called"),
        ],
    )
    def test_an_adapter(self, name: str, value: Any, line: str) -> None:
        members = {name: value, "base_class": "some.Class"}
        with pytest.raises(OptionError, match=line):
            lookup.model_adapter(type("Odd", (ClassMeans,), members))


def test_the_nearest_base_class_decides_among_adapters() -> None:
    class Base:
        pass

    class Special(Base):
        pass

    def named(kind: type) -> str:
        return f"{kind.__module__}.{kind.__qualname__}"

    def adapter(base: type) -> type[Model]:
        return type("Adapter", (ClassMeans,), {"base_class": named(base)})

    lookup.model_adapter(name="toy_a_base")(adapter(Base))
    lookup.model_adapter(name="toy_b_special")(adapter(Special))
    assert lookup.framework_of(Special()) == "toy_b_special"
    assert lookup.framework_of(Base()) == "toy_a_base"


def test_an_adapter_of_another_module_is_named() -> None:
    class Lonely:
        pass

    members = {"base_class": "wrong.Lonely"}
    lookup.model_adapter(name="toy_lonely")(type("LonelyModel", (ClassMeans,), members))
    with pytest.raises(FusionError, match=r"adapter 'toy_lonely' takes 'wrong\.Lonely'") as caught:
        lookup.wrap(Lonely(), "model")
    assert "base_class = " in caught.value.hint
