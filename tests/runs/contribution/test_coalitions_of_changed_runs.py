"""Contributions to runs that ended early, got more rounds, or changed on their way.

A coalition of all parties is the run, so one with a party of no account has the run's value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.core.types import RoundRecord

torch = pytest.importorskip("torch")
_RNG = np.random.default_rng(0)


def rows(size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    x = _RNG.normal(size=(size, 3)).astype("float32")
    return x, (x[:, 0] > 0).astype(np.int64)


PARTIES = {f"party {i}": rows() for i in range(1, 4)}


def ends_after(number: int) -> Callable[[Any, RoundRecord], bool]:
    return lambda run, record: record.round == number


def slower(run: fusion_nb.Run, record: RoundRecord) -> None:
    if record.round == 2:
        run.change(lr=0.001)


def federate(**options: Any) -> fusion_nb.Run:
    torch.manual_seed(0)
    given = {"rounds": 4, "lr": 0.5, "engine": "local", "monitor": "loss"} | options
    given |= {"contribution": "leave_one_out"}
    return fusion_nb.federate(torch.nn.Linear(3, 2), PARTIES, **given)


@pytest.mark.parametrize(
    "options",
    [
        {"lr_schedule": "cosine", "rounds": 6, "callbacks": ends_after(3)},
        {"lr_schedule": "linear", "rounds": 6, "until": "loss<=10"},
        {"lr_schedule": "step:every=2", "callbacks": ends_after(3)},
        {"callbacks": slower},
        {"changes": "2:lr=0.01;3:epochs=2"},
    ],
)
def test_values_are_against_the_run_without_the_party_as_it_went(options: dict[str, Any]) -> None:
    run = federate(**options)
    values = run.parties.contributions.values["leave_one_out"]
    gain = _trained_without("party 2", run) - run.records[-1].metrics["loss"]
    assert values["party 2"].value == pytest.approx(gain)


def test_values_after_more_rounds_follow_both_falls_of_the_rate() -> None:
    run = federate(lr_schedule="cosine", rounds=3)
    run.more(rounds=2).wait()
    values = run.parties.contributions.values["leave_one_out"]
    gain = _trained_without("party 2", run) - run.records[-1].metrics["loss"]
    assert values["party 2"].value == pytest.approx(gain)


def _trained_without(party: str, run: fusion_nb.Run) -> float:
    """The loss of the run by hand in which a party only evaluates, with the options that repeat
    the run as it went.
    """
    torch.manual_seed(0)
    options = run.completed_spec.model_dump(exclude_unset=True)
    for name in ("model", "data", "contribution", "callbacks", "code"):
        options.pop(name, None)
    options["roles"] = f"{party}=evaluate"
    made = fusion_nb.federate(torch.nn.Linear(3, 2), PARTIES, **options)
    assert len(made.records) == len(run.records)
    return made.records[-1].metrics["loss"]


@pytest.mark.parametrize(
    "options",
    [
        {"evaluate_every": 2, "callbacks": ends_after(3)},
        {"evaluate_every": 4, "callbacks": ends_after(1)},
        {"evaluate_rows": 5, "callbacks": ends_after(3)},
    ],
)
def test_a_last_round_that_was_not_measured_whole_is_measured_for_them(
    options: dict[str, Any],
) -> None:
    run = federate(**options)
    found = run.parties.contributions.to_frame()
    assert list(found.columns) == ["party", "leave_one_out"]
    torch.manual_seed(0)
    whole = fusion_nb.federate(
        torch.nn.Linear(3, 2),
        PARTIES,
        rounds=len(run.records),
        lr=0.5,
        engine="local",
        monitor="loss",
        contribution="leave_one_out",
    ).parties.contributions.to_frame()
    assert list(found["leave_one_out"]) == pytest.approx(list(whole["leave_one_out"]))
    assert not any(map(math.isnan, found["leave_one_out"]))
