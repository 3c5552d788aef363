"""From names to objects: what is refused before data is read, and what an error is about."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb import RunSpec
from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.errors import FusionError, OptionError
from fusion_nb.runs.checks.names import check_names
from fusion_nb.runs.resolve import resolve, with_default_rounds


@pytest.fixture
def names(rows: Any, net: Any) -> dict[str, Any]:
    """A namespace with a model and rows."""
    return {"model": net(), "data": rows}


@pytest.mark.parametrize(
    "option",
    [
        {"split": "dirichlet:alpha=-1"},
        {"until": "accuracy of 1"},
        {"straggler": "much"},
        {"schedule": "5"},
        {"changes": "later"},
        {"fusion": "bucketing"},
        {"baseline": "nobody"},
    ],
)
def test_an_option_that_is_wrong_by_itself_needs_no_data(option: dict[str, str]) -> None:
    with pytest.raises(OptionError):
        check_names(RunSpec(**option))


@pytest.mark.parametrize(
    "option",
    [
        {"fusion": "fedavgg"},
        {"split": "dirichlet:alpha=-1"},
        {"personal": "nothing"},
        {"ensemble": "distill"},
        {"engine": "cloud"},
        {"adversary": "label_flip:0"},
        {"share": "best:groups=0"},
        {"baseline": "nobody"},
        {"until": "soon"},
        {"changes": "later"},
        {"model": "missing"},
    ],
    ids=str,
)
def test_an_error_names_the_option_that_it_is_about(
    names: dict[str, Any], option: dict[str, str]
) -> None:
    with pytest.raises(FusionError) as caught:
        resolve(RunSpec(data="data", **option), names)
    assert {caught.value.option: caught.value.value} == option


def test_nothing_is_checked_that_goes_beyond_one_option(names: dict[str, Any]) -> None:
    made = resolve(RunSpec(data="data", fusion="lag", fraction=0.5, until="f1 > 0"), names)
    assert made.rule is not None
    assert made.rule.requires.full_participation
    assert made.cohort_size == 2


def test_a_personalization_method_is_around_the_fusion_or_follows_it(
    names: dict[str, Any],
) -> None:
    ditto = resolve(RunSpec(data="data", personal="ditto"), names)
    finetune = resolve(RunSpec(data="data", personal="finetune"), names)
    assert isinstance(ditto.rule, FusionWrapper)
    assert ditto.personal is None
    assert not isinstance(finetune.rule, FusionWrapper)
    assert finetune.personal is not None
    assert ditto.baselines == finetune.baselines == ["local"]


def test_options_that_the_spec_leaves_open_are_the_models(names: dict[str, Any]) -> None:
    assert dict(resolve(RunSpec(data="data"), names).train_options) == {
        "epochs": 1,
        "batch_size": 32,
        "lr": 0.01,
        "optimizer": "sgd",
    }


def test_an_ensemble_takes_the_rounds_that_it_needs() -> None:
    assert with_default_rounds(RunSpec(ensemble="stack")).rounds == 2
    assert with_default_rounds(RunSpec(ensemble="mean", rounds=3)).rounds == 3
    with pytest.raises(OptionError, match="--rounds 3 with --ensemble stack") as caught:
        with_default_rounds(RunSpec(ensemble="stack", rounds=3))
    assert caught.value.option == "rounds"
