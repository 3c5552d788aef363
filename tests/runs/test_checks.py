"""The rules about what goes together: their order, their notes, and that each can be applied
alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion_nb import RunSpec
from fusion_nb.errors import FusionError
from fusion_nb.runs.build import prepare
from fusion_nb.runs.checks import fusions as fusion_checks
from fusion_nb.runs.checks import ordered as checks
from fusion_nb.runs.resolve import Resolved, resolve


@pytest.fixture
def resolved(rows: Any, net: Any) -> Callable[..., Resolved]:
    """A maker of resolved specs."""

    def make(**options: Any) -> Resolved:
        names = {"model": net(), "data": options.pop("rows", rows)}
        return resolve(RunSpec(data="data", **options), names)

    return make


def test_the_model_is_tried_before_anything_is_asked_of_its_task() -> None:
    order = [check.__name__ for check in checks.CHECKS]
    assert len(order) == len({*order})
    first = order.index("check_model")
    for name in ("check_model_options", "check_data_kind"):
        assert order.index(name) < first
    for name in ("check_ensemble", "check_metric_names", "check_engine"):
        assert order.index(name) > first


@pytest.mark.parametrize(
    ("check", "options", "option"),
    [
        (checks.check_min_parties, {"min_parties": 9}, "min_parties"),
        (checks.check_model_options, {"min_parties": 2}, "min_parties"),
        (fusion_checks.check_full_participation, {"fusion": "lag", "fraction": 0.5}, "fraction"),
        (
            fusion_checks.check_plain_sgd,
            {"fusion": "scaffold", "optimizer": "adam"},
            "optimizer",
        ),
        (
            fusion_checks.check_effective_step_size,
            {"fusion": "scaffold", "optimizer": "sgd:momentum=0.9", "keep_optimizer": True},
            "keep_optimizer",
        ),
        (
            fusion_checks.check_personal,
            {"personal": "apfl", "fusion": "dynamic:threshold=1"},
            "personal",
        ),
        (
            fusion_checks.check_ensemble_alone,
            {"ensemble": "mean", "fusion": "fedavg"},
            "ensemble",
        ),
        (
            fusion_checks.check_one_personal_model,
            {"personal": "ditto", "share": "best"},
            "personal",
        ),
        (
            fusion_checks.check_attack,
            {"adversary": "bit_flip", "fusion": "fda:theta=1"},
            "adversary",
        ),
        (fusion_checks.check_cohort_size, {"fusion": "krum:f=2"}, "fusion"),
        (checks.check_own_test_rows, {"personal": "fedbn", "holdout": 0}, "personal"),
        (checks.check_sharing, {"share": "best:groups=9"}, "share"),
        (checks.check_metric_names, {"monitor": "f1"}, "monitor"),
        (checks.check_metric_names, {"until": "f1 > 0"}, "until"),
        (checks.check_stragglers, {"straggler": "0.5:epochs=1", "fusion": "fedprox:mu=1"}, ""),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_each_rule_names_the_option_that_breaks_it(
    resolved: Any, check: checks.Check, options: Any, option: str, rows: Any
) -> None:
    test = {"rows": (rows, rows)} if options.get("holdout") == 0 else {}
    with pytest.raises(FusionError) as caught:
        check(resolved(**options, **test))
    assert caught.value.option == option or not option


def test_a_spec_that_breaks_no_rule_has_its_notes(resolved: Any) -> None:
    for check in checks.CHECKS:
        assert isinstance(check(resolved()), list | tuple)
    assert checks.run_checks(resolved()) == [
        "loss: cross_entropy (the model ends in logits)",
        "engine: local (there are fewer than 8 parties)",
    ]


def test_notes_are_collected_and_those_of_the_data_come_first(rows: Any, net: Any) -> None:
    x, y = rows
    test = (x[:9], np.array([0, 1, 2] * 3))
    names = {"model": net(), "data": ((x[y < 2], y[y < 2]), test)}
    spec = RunSpec(data="data", holdout=0, parties=2, adversary="bit_flip:1", personal="ditto")
    prepared = prepare(spec, names)
    assert prepared.notes[: len(prepared.resolved.data.notes)] == prepared.resolved.data.notes
    told = "\n".join(prepared.notes)
    for part in ("training row of class 2", "nobody's own model", "is hostile (bit_flip)"):
        assert part in told
    again = prepare(spec, names, prepared.resolved.data)
    assert again.notes == prepared.notes


def test_a_federation_is_made_in_one_construction(rows: Any, net: Any) -> None:
    spec = RunSpec(data="data", share="best", baseline="central", changes="3:lr=0.5")
    prepared = prepare(spec, {"model": net(), "data": rows})
    federation = prepared.federation
    assert [type(other).__name__ for other in federation.baselines] == ["Central", "Local"]
    assert federation.post_training.parties == federation.baselines[1].federation.parties
    assert dict(federation.plan.changes[3].values) == {"lr": 0.5}
    assert prepared.monitor == "accuracy"
