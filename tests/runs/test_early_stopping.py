"""Early stopping: what `until` reads, when it holds, and when patience ends."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import OptionError
from fusion_nb.runs.early_stopping import Patience, Until


def history(*losses: float) -> History:
    return History(RoundRecord(i + 1, {"loss": v}, {}, (), 0, 0, 0) for i, v in enumerate(losses))


def test_a_run_ends_after_the_first_round_that_holds(run_of: Any, net: Any) -> None:
    run = run_of(net(), rounds=50, until="accuracy >= 0.9 and loss < 5").start().wait()
    assert len(run.history) < 50
    assert run.history["accuracy"][-1] >= 0.9 > run.history["accuracy"][-2]
    assert (run.status, run.reason) == (
        "finished",
        f"accuracy >= 0.9 and loss < 5 after round {len(run.history)}",
    )
    assert len(run.more(2).wait().history) > len(run.records) - 1


@pytest.mark.parametrize(
    "text",
    ["accuracy", "accuracy = 1", "accuracy >= high", "__import__('os')", "a > 1 or b > 2"],
)
def test_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="can't read") as caught:
        Until(text)
    assert (caught.value.option, caught.value.value) == ("until", text)


def test_a_metric_that_was_not_measured_does_not_hold() -> None:
    assert not Until("accuracy >= 0")(history(1))
    assert Until("loss <= 1")(history(1)) == "loss <= 1 after round 1"


def test_patience_counts_rounds_without_improvement() -> None:
    assert not Patience(2, "loss")(history(3, 2, 2.5))
    assert Patience(2, "loss")(history(3, 2, 2.5, 2.5)) == "no better loss for 2 rounds"
    assert not Patience(2, "loss")(history(3, 2, 2.5, 1))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("accuracy >= 1.5", "give another number"),
        ("accuracy >= 95", "write 0.95 for 95 %"),
        ("accuracy > 1", "give another number"),
        ("loss < 0.1 and central_accuracy >= 90", "write 0.9 for 90 %"),
        ("r2 > 1", "give another number"),
        ("mse < 0", "give another number"),
        ("log_loss <= -0.1", "give another number"),
        ("perplexity < 1", "give another number"),
    ],
)
def test_a_clause_that_can_never_hold_is_refused(text: str, hint: str) -> None:
    metrics = ["accuracy", "loss", "central_accuracy", "r2", "mse", "log_loss", "perplexity"]
    with pytest.raises(OptionError, match="can never hold") as error:
        Until(text).check(metrics)
    assert error.value.hint == hint


@pytest.mark.parametrize("text", ["accuracy >= 1", "mse <= 0", "loss < -1", "r2 < -3", "mine > 7"])
def test_a_clause_at_the_edge_or_without_bounds_is_allowed(text: str) -> None:
    Until(text).check(["accuracy", "mse", "loss", "r2", "mine"])


def test_a_run_refuses_it_before_any_training(run_of: Any, net: Any) -> None:
    with pytest.raises(OptionError, match="can never hold"):
        run_of(net(), rounds=2, until="accuracy > 2")
