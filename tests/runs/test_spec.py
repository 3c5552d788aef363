"""A spec as text that repeats a run, and errors about its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core.builtin import FRAMEWORKS
from fusion_nb.errors import OptionError, cell_spelling
from fusion_nb.runs.spec import MODEL_OPTIONS, allowed, from_file, read_yaml, run_option


def test_python_repeats_a_run(net: Any, rows: Any) -> None:
    model, data = net(), rows
    spec = RunSpec(data="data", rounds=3, split="dirichlet:alpha=0.4", seed=4, until="loss < -1")
    run = Run(spec, locals() | {"model": model}).start().wait()
    there: dict[str, Any] = {"model": model, "data": data}
    exec(run.spec.to_python(), there)
    assert there["run"].history["loss"] == run.history["loss"]
    assert there["run"].spec == run.spec


def test_python_repeats_a_cell_with_a_body(ip: Any) -> None:
    cell = "%%fusion --rounds 2 --name first\nfrom torch import nn\n"
    cell += "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    assert ip.run(cell).error is None
    first = ip.ns["first"]
    assert ip.run(first.spec.to_python()).error is None
    assert ip.ns["run"].history["loss"] == first.history["loss"]


def test_yaml_repeats_every_option() -> None:
    spec = RunSpec(rounds=3, until="loss < 1", code="x = 1\ny = 2\n", keep_optimizer=True)
    assert RunSpec.from_yaml(spec.to_yaml()) == spec
    assert "code: |" in spec.to_yaml()


def test_yaml_takes_the_other_names_of_options() -> None:
    assert read_yaml("algorithm: fedprox:mu=1\nlocal-steps: 3\nlr:") == {
        "fusion": "fedprox:mu=1",
        "local_steps": 3,
    }


@pytest.mark.parametrize("text", ["- a list", "just text", "a: b: c"])
def test_text_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"no options|not YAML"):
        RunSpec.from_yaml(text)


def test_a_file_that_can_not_be_read_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--config .* can't be read") as caught:
        from_file(str(tmp_path / "none.yaml"))
    assert caught.value.option == "config"


def test_errors_have_parts_and_python_spelling() -> None:
    with pytest.raises(OptionError, match=r"^batch_size=0 is not allowed") as caught:
        RunSpec(batch_size=0)
    assert (caught.value.option, caught.value.value) == ("batch_size", "0")
    assert caught.value.hint == "give a whole number >= 1"
    assert caught.value.spelled(cell_spelling).message == "--batch-size 0 is not allowed"


def test_errors_of_yaml_are_spelled_as_a_cell() -> None:
    with pytest.raises(OptionError, match=r"^--batch-size 0 is not allowed"):
        RunSpec.from_yaml("batch_size: 0")


def test_an_option_that_does_not_exist_is_named_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="no option 'epoch'") as caught:
        RunSpec(epoch=1)
    assert caught.value.option == "epoch"
    assert "did you mean 'epochs'" in caught.value.hint
    assert "epochs" in caught.value.allowed


def test_bounds_are_those_of_the_fields() -> None:
    assert allowed("fraction") == "a number > 0 and <= 1"
    assert run_option("parties").type is int
    assert run_option("rounds").default == 10


def test_options_of_some_models_are_marked() -> None:
    assert {"optimizer", "batch_size", "loss", "schedule"} <= {*MODEL_OPTIONS}
    assert not {"rounds", "lr", "fusion"} & {*MODEL_OPTIONS}


def test_the_help_of_the_model_lists_the_files_of_all_frameworks() -> None:
    for framework in FRAMEWORKS.values():
        assert framework.suffixes[0] in run_option("model").description


def test_a_cell_has_what_decides_a_run_even_where_it_is_the_default() -> None:
    assert RunSpec().to_cell() == (
        "%fusion run --data digits --split iid --rounds 10 --epochs 1 --seed 0"
    )
    assert "    rounds=10,\n    epochs=1,\n    seed=0,\n" in RunSpec().to_python()


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"local_steps": 3}, "--epochs"),
        ({"ensemble": "stack"}, "--rounds"),
        ({"data_handler": "mnist"}, "--data "),
    ],
)
def test_a_cell_has_no_default_that_another_option_replaces(
    options: dict[str, Any], absent: str
) -> None:
    assert absent not in RunSpec(**options).to_cell()


def test_a_run_writes_what_model_and_data_decided(net: Any, rows: Any) -> None:
    names = {"model": net(), "rows": rows, "two": [rows, rows]}
    run = Run(RunSpec(data="rows", rounds=1), names)
    assert "--parties 4 --split iid --fusion fedavg" in run.spec.to_cell()
    assert "--lr 0.01 --seed 0" in run.spec.to_cell()
    assert "--parties" not in Run(RunSpec(data="two", rounds=1), names).spec.to_cell()
    left_open = run.outcome.specs.asked()
    assert (left_open.parties, left_open.fusion, left_open.lr) == (None, "", None)


def test_the_words_that_others_use_are_options_too() -> None:
    assert RunSpec(clients=3, algorithm="fedprox") == RunSpec(parties=3, fusion="fedprox")
    with pytest.raises(OptionError, match="algorithm and fusion are the same option"):
        RunSpec(algorithm="fedprox", fusion="krum")
    with pytest.raises(OptionError, match="the same option"):
        read_yaml("clients: 3\nparties: 4\n")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("learning_rate", "did you mean lr=?"),
        ("num_rounds", "did you mean 'rounds'?"),
        ("n_parties", "did you mean 'parties'?"),
        ("strategy", "did you mean fusion=?"),
        ("verbose", "there are"),
        ("zebra", "there are"),
    ],
)
def test_only_what_is_near_or_means_the_same_is_suggested(word: str, meant: str) -> None:
    with pytest.raises(OptionError, match="no option") as caught:
        RunSpec(**{word: 1})
    assert caught.value.hint.startswith(meant)


def test_a_run_of_a_service_is_repeated_there() -> None:
    spec, there = RunSpec(rounds=3), "http://me:hidden@there"
    assert spec.to_cell(service=there).endswith(" --seed 0 --service http://there")
    assert spec.to_python(service=there).startswith("get_ipython().run_line_magic('fusion', 'run ")
    assert "--service http://there" in spec.to_python(service=there)


def test_a_folder_may_be_a_path() -> None:
    spec = RunSpec(checkpoint=Path("saved"))
    assert spec.checkpoint == "saved"
    assert "checkpoint: saved" in spec.to_yaml()
