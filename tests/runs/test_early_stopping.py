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
