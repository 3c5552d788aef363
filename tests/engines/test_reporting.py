"""The metrics that parties report: all, with noise, or none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core import arithmetic
from fusion_nb.core.types import EvaluateRequest, Update
from fusion_nb.engines.local import LocalEngine
from fusion_nb.engines.reporting import ReportingEngine, Reports
from fusion_nb.errors import OptionError


@pytest.fixture
def run(net: Any, rows: Any) -> Callable[..., Run]:
    """A maker of trained runs with a central test set."""

    def make(**options: Any) -> Run:
        names = {"model": net(), "data": (rows, rows)}
        spec = RunSpec(data="data", parties=3, rounds=3, lr=0.1, **options)
        return Run(spec, names).start().wait()

    return make


def test_parties_that_report_nothing_send_the_same_weights(run: Callable[..., Run]) -> None:
    silent, plain = run(report="none"), run()
    assert arithmetic.equal(silent.weights, plain.weights)
    assert silent.history["accuracy"] == plain.history["accuracy"]
    assert "train_loss" not in silent.history[-1].metrics
    assert not any(silent.history[-1].party_metrics.values())
    assert silent.summary()
    assert silent.plot().png


def test_noise_is_normal_and_the_same_for_the_same_seed() -> None:
    class Telling(LocalEngine):
        def run(self, request: Any, cohort: Any) -> Any:
            for party in cohort:
                yield Update(party, {}, 10, {"accuracy": 0.5, "loss": 7.0})

    engine = ReportingEngine(Telling(), Reports("noised", 2.0, 1.0), seed=0)
    parties = [f"party {i}" for i in range(5000)]
    request = EvaluateRequest({"w": np.zeros(1)})
    told = [reply.metrics for reply in engine.run(request, parties)]  # type: ignore[union-attr]
    noise = np.array([[m["accuracy"] - 0.5, m["loss"] - 1.0] for m in told]) / 2
    assert abs(noise.mean()) < 4 / math.sqrt(10_000)
    assert noise.var() == pytest.approx(1.0, abs=4 * math.sqrt(2 / 10_000))
    assert abs(np.corrcoef(noise.T)[0, 1]) < 4 / math.sqrt(5000)
    again = [reply.metrics for reply in engine.run(request, parties)]  # type: ignore[union-attr]
    assert told == again
    other = EvaluateRequest({"w": np.ones(1)})
    assert told != [reply.metrics for reply in engine.run(other, parties)]  # type: ignore[union-attr]


def test_what_noisy_metrics_cost_is_told(run: Callable[..., Run]) -> None:
    found = run(report="noised:noise=20")
    assert any("report: the metrics that one party told" in note for note in found.notes)
    assert found.history["accuracy"] == run().history["accuracy"]  # of the central test set


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"report": "nothing"}, "report='nothing' is not allowed"),
        ({"report": "noised"}, "not allowed"),
        ({"report": "noised:noise=0"}, "not allowed"),
        ({"report": "noised:noise=x"}, "not allowed"),
        ({"report": "none:noise=1"}, "not allowed"),
        ({"report": "none", "until": "train_loss < 1"}, "train_loss"),
        ({"report": "none", "metrics": "auc"}, "joined from sums"),
    ],
)
def test_bad_reports_are_refused(
    run: Callable[..., Run], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        run(**options)


def test_somebody_has_to_measure_the_model(net: Any, rows: Any) -> None:
    names = {"model": net(), "data": rows}
    with pytest.raises(OptionError, match="own test rows only"):
        Run(RunSpec(data="data", report="none"), names)


@pytest.mark.parametrize(
    "options",
    [
        {"report": "none", "sampling": "loss"},
        {"report": "none", "sampling": "oort", "devices": "phones"},
        {"report": "none", "fusion": "qfedavg"},
        {"report": "noised:noise=5", "fusion": "qfedavg", "compress": "int8"},
    ],
)
def test_what_reads_losses_does_not_go_with_reports_that_hide_them(
    run: Callable[..., Run], options: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="losses"):
        run(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unseen": 1}, "unseen"),
        ({"baseline": "local", "share": "best"}, "baseline, share"),
        ({"personal": "finetune", "report": "noised:noise=5"}, "personal"),
    ],
)
def test_metrics_that_are_told_as_they_are_have_a_note(
    run: Callable[..., Run], options: dict[str, Any], words: str
) -> None:
    notes = run(**{"report": "none"} | options).notes
    (note,) = [each for each in notes if each.startswith("warning: report: some metrics")]
    assert all(word in note for word in words.split(", "))
    assert not [each for each in run(report="none").notes if "told as they are" in each]
