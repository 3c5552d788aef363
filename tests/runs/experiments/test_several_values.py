"""Several values of an option in unusual forms, and lines about values that can't vary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.errors import FusionError, OptionError
from fusion_nb.notebook import options as option_line
from fusion_nb.runs.experiments.spec import ExperimentSpec

ITERABLES = [
    (lambda: (0.1 * i for i in (1, 2)), (0.1, 0.2)),
    (lambda: {0.2, 0.1}, (0.1, 0.2)),
    (lambda: np.array([0.1, 0.2]), (0.1, 0.2)),
    (lambda: dict.fromkeys([0.1, 0.2]).keys(), (0.1, 0.2)),
]


@pytest.mark.parametrize(("make", "expected"), ITERABLES)
def test_any_iterable_of_values_varies(make: Any, expected: tuple[float, ...]) -> None:
    assert ExperimentSpec.of({"lr": make()}).vary["lr"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lr": "[0.1]"}, {"lr": (0.1,)}),
        (
            {"lr": "[0.1,]", "fusion": "[fedprox:mu=0.1]"},
            {"lr": (0.1,), "fusion": ("fedprox:mu=0.1",)},
        ),
        ({"lr": [0.1]}, {"lr": (0.1,)}),
        ({"lr": "0.1"}, {}),
    ],
)
def test_a_list_may_have_one_value(options: Any, expected: dict[str, Any]) -> None:
    assert ExperimentSpec.of(options).vary == expected


@pytest.mark.parametrize("value", [np.array(0.1), np.float64(0.1)])
def test_one_number_of_numpy_does_not_vary(value: Any) -> None:
    assert ExperimentSpec.of({"lr": value}).vary == {}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("compress", "topk"),
        ("personal", "ditto"),
        ("privacy", "central:clip=1,noise=1"),
        ("share", "best"),
        ("until", "accuracy>=0.9"),
    ],
)
def test_none_stands_for_an_option_that_is_not_given(name: str, other: str) -> None:
    assert ExperimentSpec.of({name: f"[none,{other}]"}).vary[name] == ("", other)


@pytest.mark.parametrize(
    "options",
    [
        {"compress": ["", "topk"]},
        {"personal": ["ditto", ""], "lr": [0.1, 0.2]},
        {"privacy": ["", "central:clip=1,noise=1", "local:clip=1,noise=1"]},
    ],
)
def test_the_cell_of_an_option_that_is_not_given_reads_as_the_same(options: Any) -> None:
    spec = ExperimentSpec.of(options)
    line = option_line.read(spec.to_cell().removeprefix("%fusion "))
    assert ExperimentSpec.of({**line.options, **line.own}).vary == spec.vary
    assert ExperimentSpec.of(spec.to_dict()).vary == spec.vary


def focal(outputs: Any, labels: Any) -> Any:
    from torch.nn import functional

    return functional.cross_entropy(outputs, labels) ** 2


def test_objects_of_a_list_are_tried_under_their_names(short_sweep: Any) -> None:
    from torch import nn

    losses = ["cross_entropy", focal, nn.CrossEntropyLoss(label_smoothing=0.1)]
    made = short_sweep(loss=losses, seeds="0-1")
    names = ["cross_entropy", "given_focal", "given_CrossEntropyLoss"]
    assert list(dict.fromkeys(trial.settings["loss"] for trial in made.runs)) == names
    assert len({trial.value("loss") for trial in made.runs}) == 6
    assert "loss=['cross_entropy', given_focal, given_CrossEntropyLoss]" in made.spec.to_text()


def test_two_objects_of_one_kind_have_two_names(short_sweep: Any) -> None:
    from torch import nn

    made = short_sweep(loss=[nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.5)])
    assert len({trial.settings["loss"] for trial in made.runs}) == 2


@pytest.mark.parametrize("options", [{"data": "[digits,mnist]"}, {"model": "[a, b]"}])
def test_several_models_or_data_sets_are_several_experiments(options: Any) -> None:
    with pytest.raises(OptionError, match="the runs of an experiment share one") as found:
        ExperimentSpec.of(options)
    assert "%fusion compare" in found.value.hint


@pytest.mark.parametrize(("name", "says"), [("checkpoint", "one folder"), ("seed", "seeds")])
def test_what_each_run_has_by_itself_is_told(name: str, says: str) -> None:
    with pytest.raises(OptionError, match="has several values") as found:
        ExperimentSpec.of({name: ["1", "2"]})
    assert says in found.value.hint


def test_several_objects_are_several_experiments(build: Any, rows: Any) -> None:
    for model, data in (([build, build], rows), (build, ["digits", "mnist"])):
        with pytest.raises(OptionError, match="share one"):
            fusion_nb.sweep(model, data, rounds=1)


@pytest.mark.parametrize(
    "options", [{"lr": [0.1, 0.2]}, {"lr": "[0.1,0.2]"}, {"fusion": "fedavg,median"}]
)
@pytest.mark.parametrize("seeds", [{}, {"seeds": "0-1"}])
def test_several_values_of_one_run_are_told_of_sweeps(
    net: Any, rows: Any, options: Any, seeds: Any
) -> None:
    with pytest.raises(FusionError) as found:
        fusion_nb.federate(net(), rows, rounds=1, **options, **seeds)
    assert "%fusion sweep" in found.value.hint


def test_one_wrong_value_is_not_told_of_sweeps(net: Any, rows: Any) -> None:
    for options in ({"lr": -1}, {"fusion": "fedavgg:a=1,b=2"}):
        with pytest.raises(FusionError) as found:
            fusion_nb.federate(net(), rows, rounds=1, **options)
        assert "sweep" not in found.value.hint


@pytest.mark.parametrize("option", ["model", "loss", "callbacks"])
def test_a_file_of_a_call_with_objects_asks_for_them_again(
    build: Any, rows: Any, tmp_path: Path, option: str
) -> None:
    objects = {"model": build, "data": rows, "loss": focal, "callbacks": [print]}
    made = fusion_nb.sweep(**objects, rounds=1, parties=2, lr=[0.1, 0.2])
    (tmp_path / "experiment.yaml").write_text(made.spec.to_yaml())
    config = str(tmp_path / "experiment.yaml")
    again = fusion_nb.sweep(**objects, config=config)
    assert [t.history["loss"] for t in again.runs] == [t.history["loss"] for t in made.runs]
    del objects[option]
    with pytest.raises(OptionError, match=f"{option}= of .* was an object of the call"):
        fusion_nb.sweep(**objects, config=config)


def test_a_folder_of_a_call_with_objects_asks_for_them_again(
    short_sweep: Any, build: Any, rows: Any, ip: Any, tmp_path: Path
) -> None:
    folder = str(tmp_path / "saved")
    made = short_sweep(rounds=1, seeds="0-1", checkpoint=folder)
    with pytest.raises(OptionError, match=r"model= of .* was an object of the call"):
        fusion_nb.resume(folder)
    assert "--model of" in str(ip.run(f"%fusion resume {folder}"))
    again = fusion_nb.resume(folder, model=build, data=rows)
    assert [t.history["loss"] for t in again.runs] == [t.history["loss"] for t in made.runs]


@pytest.mark.parametrize("method", ["start", "resume"])
def test_a_finished_experiment_says_how_it_grows(short_sweep: Any, method: str) -> None:
    made = short_sweep(rounds=1, seeds="0-1")
    with pytest.raises(FusionError) as found:
        getattr(made, method)()
    assert "more seeds or values" in found.value.hint
