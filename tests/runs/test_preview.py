"""A preview before training: its cost, its notes, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core.federation import Federation
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import DataError, SplitError
from fusion_nb.runs.preview import look


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"parties": 5, "fraction": 0.4, "epochs": 3},
        {"local_steps": 7},
        {"split": "quantity:alpha=0.5", "seed": 3},
    ],
)
def test_rows_steps_and_bytes_are_those_of_the_run(
    net: Any, rows: Any, options: dict[str, Any]
) -> None:
    namespace = {"model": net(), "rows": rows}
    spec = RunSpec(data="rows", rounds=4, batch_size=16, **options)
    found = look(spec, namespace)
    run = Run(spec, namespace)
    counted: list[tuple[str, int, int]] = []
    fit = type(run.federation.model).fit

    def counting(model: Any, data: Any, **orders: Any) -> Any:
        trained = fit(model, data, **orders)
        counted.append(("fit", trained.num_steps, len(data[0]) * orders["epochs"]))
        return trained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run.federation.model), "fit", counting)
        run.start().wait()
    assert found.cost.steps == sum(steps for _, steps, _ in counted)
    if "local_steps" not in options:
        assert found.cost.rows == sum(rows for *_, rows in counted)
    assert found.cost.bytes_all == sum(r.bytes_up + r.bytes_down for r in run.history)
    assert found.cost.seconds is not None
    assert found.cost.seconds > 0


def test_a_preview_changes_nothing(net: Any, rows: Any) -> None:
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    namespace = {"model": model, "rows": rows}
    spec = RunSpec(data="rows", rounds=2)
    plain = Run(spec, namespace).start().wait().history["loss"]
    look(spec, namespace)
    assert Run(spec, namespace).start().wait().history["loss"] == plain
    assert all((model.state_dict()[name] == before[name]).all() for name in before)


def test_a_preview_warns_and_refuses(net: Any, rows: Any) -> None:
    x, y = rows
    test = (x[:9], np.array([0, 1, 2] * 3))
    namespace = {"model": net(), "rows": ((x[y < 2], y[y < 2]), test)}
    found = look(RunSpec(data="rows", holdout=0, parties=2), namespace)
    assert any("no party has a training row of class 2" in note for note in found.notes)
    assert any("no test rows of their own" in note for note in found.notes)
    assert found.chart.alt.startswith("2 parties")
    with pytest.raises(SplitError, match="only 240 rows"):
        look(RunSpec(data="rows", parties=500), {"model": net(), "rows": rows})


def test_a_cost_that_can_not_be_known_yet_is_left_out() -> None:
    gensim = pytest.importorskip("gensim")
    model = gensim.models.Doc2Vec(vector_size=5, min_count=1)
    texts = [f"alpha beta gamma word{i % 7}" for i in range(40)]
    cost = look(RunSpec(data="texts", rounds=3, parties=2), {"model": model, "texts": texts}).cost
    assert (cost.steps, cost.seconds, cost.bytes_each) == (None, None, None)
    assert str(cost) == f"{cost.rows:,} rows to train on"


def tried(monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> list[int]:
    """Let tried rounds take that number of seconds each; return how many were asked for."""
    asked: list[int] = []

    def rounds(federation: Federation, num_rounds: int) -> Iterator[RoundRecord]:
        asked.append(num_rounds)
        for i, took in enumerate(seconds[:num_rounds]):
            yield RoundRecord(i + 1, {}, {}, (), took, 0, 0)
        if num_rounds > len(seconds):
            raise DataError("a party has no rows")

    monkeypatch.setattr(Federation, "rounds", rounds)
    return asked


class TestEstimate:
    def estimate(self, net: Any, rows: Any, **options: Any) -> float | None:
        spec = RunSpec(data="rows", **options)
        return look(spec, {"model": net(), "rows": rows}).cost.seconds

    def test_short_rounds_are_tried_and_the_first_counts_once(
        self, net: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = tried(monkeypatch, [0.5, 0.02, 0.01, 0.02, 0.3, 0.02])
        assert self.estimate(net, rows, rounds=101) == pytest.approx(0.5 + 100 * 0.02)
        assert asked == [6]

    def test_slow_rounds_are_not_tried_for_long(
        self, net: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried(monkeypatch, [1.0, 0.9, 99.0, 99.0, 99.0, 99.0])
        assert self.estimate(net, rows, rounds=11) == pytest.approx(1.0 + 10 * 0.9)

    @pytest.mark.parametrize("rounds", [1, 3])
    def test_no_more_rounds_are_tried_than_the_run_has(
        self, net: Any, rows: Any, monkeypatch: pytest.MonkeyPatch, rounds: int
    ) -> None:
        asked = tried(monkeypatch, [0.1] * 3)
        assert self.estimate(net, rows, rounds=rounds) == pytest.approx(0.1 * rounds)
        assert asked == [rounds]

    @pytest.mark.slow
    def test_a_party_that_fails_leaves_the_estimate_of_batches(
        self, net: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried(monkeypatch, [1.0, 1.0 / 4])
        found = self.estimate(net, rows, rounds=10**6)
        assert found is not None
        assert found != pytest.approx(1.0 + (10**6 - 1) / 4)

    def test_rounds_that_differ_are_not_tried(
        self, net: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = tried(monkeypatch, [1.0])
        assert self.estimate(net, rows, evaluate_every=5)
        assert asked == []
