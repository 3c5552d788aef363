"""Failures of parties, models and fusions: what ends a round, and what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from core_runs import BreaksAfter, run_of

from fusion_nb import RunSpec, fusion
from fusion_nb.core.protocols import EngineWrapper
from fusion_nb.core.types import Failure, RoundRequest
from fusion_nb.errors import ContractError, DataError, DivergedError, PartyError, private
from fusion_nb.runs.build import build


def test_the_users_exception_keeps_its_type_and_traceback(rows: Any) -> None:
    def broken() -> None:
        raise ZeroDivisionError("in my model")

    run = run_of(rows, BreaksAfter(10, broken), rounds=5)
    with pytest.raises(ZeroDivisionError, match="in my model") as caught:
        BreaksAfter.begin(run).wait()
    assert any("broken" in frame.name for frame in caught.traceback)
    assert "last whole round is kept" in caught.value.__notes__[0]
    assert run.status == "failed"
    assert len(run.history) == 1
    assert run.model(torch.tensor(rows[0])).shape == (240, 3)


def test_a_quorum_lets_a_round_go_on(rows: Any, net: Any) -> None:
    x, y = rows

    class Unreadable:
        targets, num_read = y[:30], 0

        def __len__(self) -> int:
            return 30

        def __getitem__(self, i: int) -> Any:
            self.num_read += 1
            if self.num_read > 5:  # as many as are looked at before training
                raise OSError("the disk is gone")
            return x[i], y[i]

    parties = {"good": (x[:100], y[:100]), "fine": (x[100:], y[100:]), "broken": Unreadable()}
    run = run_of(parties, net(), rounds=2, quorum=0.6).start().wait()
    assert [failure.party for failure in run.failures] == ["broken"] * 2
    assert "the disk is gone" in run.failures[0].traceback
    assert run.history.to_frame()["parties"].tolist() == [2, 2]
    assert run.history[-1].bytes_up < run.history[-1].bytes_down
    with pytest.raises(DataError, match=r"broken: row \d+ of .*OSError: the disk is gone"):
        run_of(parties | {"broken": Unreadable()}, net()).start().wait()


def test_a_fused_model_that_diverges_is_not_kept(rows: Any, net: Any) -> None:
    x, y = rows
    far = (np.full((30, 5), 3e38, dtype=np.float32), y[:30])
    run = run_of({"good": (x, y), "far": far}, net(), quorum=0.5)
    with pytest.raises(DivergedError, match="in round"):
        run.start().wait()
    assert all(np.isfinite(array).all() for array in run.weights.values())


def test_a_diverged_loss_names_party_and_round_and_keeps_the_last_round(
    rows: Any, net: Any
) -> None:
    run = run_of(rows, net(), lr=1e25)
    with pytest.raises(DivergedError, match=r"party 1 became (nan|inf) in round 1") as caught:
        run.start().wait()
    assert "smaller lr" in caught.value.hint
    assert all(
        torch.equal(a, b) for a, b in zip(run.model.parameters(), net().parameters(), strict=True)
    )


def test_failures_of_a_round_that_was_given_up_are_kept(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), lr=1e25)
    with pytest.raises(DivergedError):
        run.start().wait()
    assert [failure.party for failure in run.failures] == ["party 1"]
    assert "DivergedError" in run.failures[0].traceback
    assert run.failures[0].exception is None
    assert "<summary>traceback</summary>" in run._repr_mimebundle_()["text/html"]


def test_a_failure_without_its_exception_is_reported_by_its_line(rows: Any, net: Any) -> None:
    from fusion_nb.core.federation import Federation

    class Away(EngineWrapper):
        def run(self, request: Any, cohort: Any) -> Any:
            if isinstance(request, RoundRequest):
                replies = super().run(request, cohort)
                away = Failure("party 2", "OSError: away")
                return (away if reply.party == away.party else reply for reply in replies)
            return super().run(request, cohort)

    made = build(RunSpec(data="data"), {"model": net(), "data": rows})
    federation = Federation(
        made.parties, made.model, made.fusion, Away(made.network.engine), made.config
    )
    with pytest.raises(PartyError, match="party 2: OSError: away"):
        next(federation.rounds(1))
    assert not federation.history
    assert [failure.party for failure in federation.round_failures] == ["party 2"]


def test_an_error_of_the_package_names_the_party_and_stays_private(rows: Any, net: Any) -> None:
    def refuse() -> None:
        raise DataError(f"the label {private(repr('Alice'))} is unknown", "look at the labels")

    run = run_of(rows, BreaksAfter(1, refuse), engine="local:workers=1")
    with pytest.raises(DataError, match=r"party \d: the label 'Alice' is unknown") as caught:
        BreaksAfter.begin(run).wait()
    assert "Alice" not in caught.value.redacted().message


def test_a_fusion_that_leaves_out_entries_is_refused(rows: Any, net: Any) -> None:
    @fusion
    def forgetful(weights: Any, updates: Any) -> Any:
        return {name: array for name, array in weights.items() if "bias" in name}

    with pytest.raises(ContractError, match="unusable weights in round 1"):
        run_of(rows, net(), fusion="forgetful").start().wait()


@pytest.mark.parametrize("returned", [None, [1], "text", {"0.weight": 1}])
def test_a_fusion_that_returns_no_weights_is_refused(rows: Any, net: Any, returned: Any) -> None:
    @fusion(name="returning")
    def wrong(weights: Any, updates: Any) -> Any:
        return returned

    with pytest.raises(ContractError, match="unusable weights in round 1"):
        run_of(rows, net(), fusion="returning", rounds=1).start().wait()
