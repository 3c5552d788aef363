"""The notation of several values: seeds, lists, ranges, and how they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb.errors import FusionError, OptionError
from fusion_nb.runs.experiments import values
from fusion_nb.runs.experiments.spec import ExperimentSpec


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        ("0-4", (0, 1, 2, 3, 4)),
        ("0,3,7", (0, 3, 7)),
        ("[1,2]", (1, 2)),
        ("0-1,9", (0, 1, 9)),
        (range(3), (0, 1, 2)),
        ([5], (5,)),
        (5, (5,)),
    ],
)
def test_seeds_are_read(given: Any, seeds: tuple[int, ...]) -> None:
    assert values.parse_seeds(given) == seeds


@pytest.mark.parametrize(
    "given", ["4-1", "", "a", "1.5", "-1", [0.5], [True], "0,0", "0-2,1", [-1], "0-999999", None]
)
def test_other_seeds_are_refused(given: Any) -> None:
    with pytest.raises(OptionError, match="seeds"):
        values.parse_seeds(given)


@pytest.mark.parametrize(
    ("options", "vary"),
    [
        (
            {"fusion": "fedavg,fedprox:mu=[0.01,1],scaffold"},
            {"fusion": ("fedavg", "fedprox:mu=0.01", "fedprox:mu=1", "scaffold")},
        ),
        (
            {"fusion": "fedadam:lr=0.1,tau=0.01,fedavg"},
            {"fusion": ("fedadam:lr=0.1,tau=0.01", "fedavg")},
        ),
        ({"lr": "[0.01,0.1]"}, {"lr": (0.01, 0.1)}),
        ({"lr": "0.01,0.1"}, {"lr": (0.01, 0.1)}),
        ({"lr": [0.01, 0.1]}, {"lr": (0.01, 0.1)}),
        ({"epochs": range(1, 3)}, {"epochs": (1, 2)}),
        (
            {"split": "dirichlet:alpha=[0.1,1]"},
            {"split": ("dirichlet:alpha=0.1", "dirichlet:alpha=1")},
        ),
        (
            {"fusion": ["fedavg", "fedprox:mu=[0.1,1]"]},
            {"fusion": ("fedavg", "fedprox:mu=0.1", "fedprox:mu=1")},
        ),
        ({"metrics": "auc,f1", "lr": "0.1"}, {}),
        ({"metrics": ["auc", "f1"], "baseline": "central,local"}, {}),
        (
            {"privacy": "central:clip=1,noise=[1,2]"},
            {"privacy": ("central:clip=1,noise=1", "central:clip=1,noise=2")},
        ),
        (
            {"privacy": "central:clip=1,noise=1,local:clip=1,noise=1"},
            {"privacy": ("central:clip=1,noise=1", "local:clip=1,noise=1")},
        ),
        (
            {"compress": "topk:share=[0.1,0.2],int8"},
            {"compress": ("topk:share=0.1", "topk:share=0.2", "int8")},
        ),
        ({"privacy": "central:clip=1,noise=auto:epsilon=8", "lr": "1,2"}, {"lr": (1.0, 2.0)}),
    ],
)
def test_options_that_vary_are_told_from_others(options: Any, vary: Any) -> None:
    assert ExperimentSpec.of(options).vary == vary


@pytest.mark.parametrize(
    "options",
    [
        {"lr": "[0.1,x]"},
        {"lr": "[]"},
        {"lr": []},
        {"lr": [0.1, 0.1]},
        {"lr": "[0.1..1]"},
        {"fusion": "fedavg,nope"},
        {"fusion": "fedprox:mu=[0.1"},
        {"fusion": "fedprox:mu=[]"},
        {"nope": [1, 2]},
        {"lr": [0.1, -1]},
        {"seed": [1, 2]},
        {"lr": [0.1, 1], "seed": 0, "seeds": "0-1"},
        {"hold": "splot", "seeds": "0-1"},
        {"hold": "split", "lr": [0.1, 1]},
        {"band": "sd", "seeds": "0-1"},
        {"search": "grid", "lr": "[0.1..1]"},
        {"search": "optuna:trials=0", "lr": "[0.1..1]"},
        {"workers": "two", "lr": [0.1, 1]},
        {"workers": 2.5, "lr": [0.1, 1]},
        {"seeds": "0-999", "lr": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]},
        {"seed_of": "weight=1"},
    ],
)
def test_other_values_are_refused_in_one_line(options: Any) -> None:
    with pytest.raises(FusionError) as found:
        ExperimentSpec.of(options)
    assert "\n" not in found.value.message
    assert found.value.hint


def test_a_spec_is_the_same_after_yaml_and_back() -> None:
    import yaml

    spec = ExperimentSpec.of(
        {"fusion": "fedavg,fedprox:mu=[0.1,1]", "lr": [0.1, 1], "seeds": "0-2", "hold": "split"}
    )
    assert ExperimentSpec.of(yaml.safe_load(spec.to_yaml())) == spec


def test_the_cell_of_a_spec_reads_as_the_same_spec() -> None:
    from fusion_nb.notebook import options

    spec = ExperimentSpec.of({"fusion": "fedavg,scaffold", "rounds": 3, "seeds": "0-1"})
    line = options.read(spec.to_cell().removeprefix("%fusion "))
    assert line.command == "sweep"
    assert ExperimentSpec.of({**line.options, **line.own}) == spec


def test_held_parts_keep_the_first_seed_and_the_others_vary() -> None:
    spec = ExperimentSpec.of({"seeds": "3,5", "hold": "split,weights"}, varies=False)
    first, second = (point.spec for point in spec.points())
    assert [first.seed_for(part) for part in ("split", "cohort", "batches", "weights")] == [3] * 4
    assert [second.seed_for(part) for part in ("split", "cohort", "batches", "weights")] == [
        3,
        5,
        5,
        3,
    ]
    assert spec.told() == "2 seeds vary cohort and batches; held: split and weights"
