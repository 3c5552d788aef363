"""How functions and classes become fusions, and wrappers around other rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from linear_parties import context_of, info_of, named

from fusion_nb import fusion
from fusion_nb.algorithms.fusions.averaging import fedavg
from fusion_nb.algorithms.fusions.base import promote
from fusion_nb.algorithms.fusions.dynamic_averaging import Dynamic
from fusion_nb.algorithms.fusions.fedprox import FedProx
from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.algorithms.fusions.scaffold import Scaffold
from fusion_nb.algorithms.personalization.ditto import Ditto
from fusion_nb.algorithms.personalization.ifca import IFCA
from fusion_nb.core import registry
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Requirements, Update, Weights
from fusion_nb.errors import OptionError


def two_updates() -> Iterator[Update]:
    return iter([Update("a", named([1.0]), 30), Update("b", named([3.0]), 10)])


class TestFunctions:
    def test_keyword_only_parameters_are_options(self) -> None:
        @fusion(name="scaled")
        def scaled(weights: Weights, updates: Iterator[Update], *, factor: float = 2.0) -> Weights:
            return {"w": factor * next(updates).weights["w"]}

        assert [option.name for option in registry.options("fusions", "scaled")] == ["factor"]
        rule = registry.create("fusions", "scaled:factor=3")
        result, state = rule.aggregate(named([0.0]), two_updates(), None)
        assert (result["w"].tolist(), state) == ([3.0], None)
        assert rule.requires == Requirements()

    def test_a_function_of_another_form_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"lonely\(weights\) can't be a fusion") as caught:

            @fusion
            def lonely(weights: Weights) -> Weights:
                return weights

        assert "options after a *" in caught.value.hint


class TestClasses:
    def test_a_class_derived_from_fusion_is_registered(self) -> None:
        @fusion(name="first_party")
        class FirstParty(Fusion):
            def aggregate(self, weights: Weights, updates: Any, state: Any) -> Any:
                return next(updates).weights, state

        rule = registry.create("fusions", "first_party")
        assert rule.aggregate(named([0.0]), two_updates(), None)[0]["w"].tolist() == [1.0]

    def test_a_class_of_the_earlier_form_is_refused_with_the_new_names(self) -> None:
        class Old:
            local: ClassVar[Any] = {}

            def init(self, weights: Any) -> None: ...

            def send(self, state: Any) -> Any:
                return {}

            def fuse(self, weights: Any, updates: Any, state: Any) -> Any:
                return weights, state

        with pytest.raises(OptionError, match="class Old is no fusion") as caught:
            promote(Old)
        for renamed in ("fuse -> aggregate", "local -> client_options", "send -> broadcast"):
            assert renamed in caught.value.hint
        assert "\n" not in caught.value.hint

    @pytest.mark.parametrize("bases", [(), (Fusion,)])
    def test_a_class_without_aggregate_is_refused(self, bases: Any) -> None:
        with pytest.raises(OptionError, match="the class Nothing is no fusion"):
            promote(type("Nothing", bases, {}))


class TestWrappers:
    def test_a_wrapper_changes_nothing(self) -> None:
        inner, weights = Scaffold(), named([0.5, 1.0])
        rule, info = FusionWrapper(inner), info_of(named([0.5, 1.0]), 2)
        state = rule.init(weights, info)
        assert rule.requires == inner.requires
        assert rule.client_options == inner.client_options
        assert rule.broadcast(state) == inner.broadcast(state)
        assert rule.shared_weights(weights, state) is weights
        assert rule.synchronising is None
        context = context_of(weights, {}, 1, named([0.0, 0.0]), info)
        answer = rule.local_update(replace(context, broadcast=rule.broadcast(state)))
        fused, _ = rule.aggregate(weights, iter([answer]), state)
        assert fused["w"] == pytest.approx(np.zeros(2))

    def test_a_wrapper_around_a_synchronising_rule_synchronises(self) -> None:
        inner = Dynamic(threshold=0.5)
        assert FusionWrapper(inner).synchronising is inner
        assert Ditto(FusionWrapper(inner)).synchronising is inner

    def test_a_wrapper_adds_to_the_requirements_of_its_rule(self) -> None:
        rule = Ditto(FedProx(mu=0.3))
        assert rule.requires == Requirements(uses_partial_work=True)
        assert rule.client_options == {"mu": 0.3, "anchor": None}

    def test_only_methods_with_a_step_after_the_last_round_say_so(self) -> None:
        assert IFCA(fedavg()).has_post_training
        assert FusionWrapper(IFCA(fedavg())).has_post_training
        assert not Ditto(fedavg()).has_post_training
