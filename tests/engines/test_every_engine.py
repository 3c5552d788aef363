"""The contract of every registered engine: its curve is that of the local one."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb import RunSpec
from fusion_nb.core import registry
from fusion_nb.core.protocols import Engine, EngineWrapper
from fusion_nb.core.types import EvaluateRequest, Failure
from fusion_nb.runs.build import build

#: Engines whose sums are rounded in another order.
ROUNDED = ("auto", "vectorized")
#: Those that take long to start are tried by `make test-all`. Ray's own processes outlive the
#: objects that stand for them, which is no fault of a run.
_LONG = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
NAMES = [
    pytest.param(name, marks=_LONG if name in ("flower", "ray") else [])
    for name in registry.names("engines")
    if not registry.missing_package("engines", name)
]


@pytest.mark.parametrize("name", NAMES)
class TestEveryEngine:
    def test_it_gives_the_local_curve(self, name: str, rows: Any, net: Any) -> None:
        namespace = {"model": net(), "data": rows}

        def curve(engine: str) -> list[dict[str, float]]:
            spec = RunSpec(
                data="data",
                engine=engine,
                parties=6,
                fraction=0.5,
                lr=0.1,
                split="dirichlet:alpha=1",
            )
            federation = build(spec, namespace)
            metrics = [dict(record.metrics) for record in federation.rounds(3)]
            federation.close()
            return metrics

        exact: Any = curve("local")
        if name in ROUNDED:
            exact = [pytest.approx(metrics, rel=1e-4, abs=1e-6) for metrics in exact]
        assert curve(name) == exact

    def test_it_is_an_engine_that_may_be_closed_twice(self, name: str) -> None:
        engine = registry.create("engines", name)
        assert isinstance(engine, Engine)
        engine.close()
        engine.close()

    def test_it_replies_in_the_order_of_the_cohort_and_starts_again(
        self, name: str, rows: Any, net: Any
    ) -> None:
        made = build(RunSpec(data="data", parties=4), {"model": net(), "data": rows})
        engine = registry.create("engines", name)
        cohort = ["party 3", "party 1", "party 4"]
        for _ in range(1 if name == "process" else 2):
            engine.start(made.parties, made.model, lambda: None)
            replies = list(engine.run(EvaluateRequest(made.weights), cohort))
            engine.close()
            assert [reply.party for reply in replies] == cohort
            assert not any(isinstance(reply, Failure) for reply in replies)
        assert 1 <= engine.width(made.model, 4) <= 4


def test_a_wrapper_passes_everything_through(rows: Any, net: Any) -> None:
    made = build(RunSpec(data="data", parties=3), {"model": net(), "data": rows})
    inner = registry.create("engines", "local:workers=2,keep_memory=true")
    wrapper = EngineWrapper(EngineWrapper(inner))
    assert wrapper.innermost is inner
    assert wrapper.width(made.model, 3) == 2
    assert wrapper.check(made.model, {}, made.parties) == inner.check(made.model, {}, made.parties)
    wrapper.start(made.parties, made.model, lambda: None)
    replies = wrapper.run(EvaluateRequest(made.weights), ["party 2"])
    assert [reply.party for reply in replies] == ["party 2"]
    wrapper.close()
