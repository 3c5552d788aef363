"""Mistakes of a newcomer: each message says what is wrong and what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb import RunSpec, fusion, split
from fusion_nb.core import registry
from fusion_nb.core.protocols import Engine, Fusion
from fusion_nb.data import splits
from fusion_nb.errors import FusionError, NameNotFoundError, OptionError, SplitError
from fusion_nb.notebook import options
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import from_file

ROWS = np.zeros((8, 2), dtype=np.float32), np.arange(8) % 2


class TestSplits:
    @pytest.mark.parametrize(
        ("parts", "fault"),
        [
            ([[0, 1], [2]], "row 3 is at no party"),
            ([[0, 1], [1, 2, 3]], "row 1 is at party 1 and party 2"),
            ([[0, 0, 1], [2, 3]], "row 0 is twice at party 1"),
            ([[0, 1], [2, 3], []], "3 arrays for 2 parties"),
            ([[0, 1], [2, 4]], "party 2 has row 4, and there are 4"),
            ([np.ones(4, bool), [0]], "the rows of party 1 are a mask"),
            (None, "it returned NoneType"),
        ],
    )
    def test_the_fault_is_named(self, parts: Any, fault: str) -> None:
        with pytest.raises(SplitError, match=fault):
            splits.check(parts, 4, ["party 1", "party 2"], "mine")

    def test_lists_of_numbers_are_rows_too(self) -> None:
        splits.check([[0, 2], [3, 1]], 4, ["a", "b"], "mine")

    def test_a_class_is_no_split(self) -> None:
        with pytest.raises(OptionError, match="is no function, and a split is one"):
            split(type("Halves", (), {}))


class TestNames:
    def test_an_unknown_kind(self) -> None:
        for call in (registry.names, lambda kind: registry.register(kind, "x", object)):
            with pytest.raises(OptionError, match="no kind 'engine'") as caught:
                call("engine")
            assert "engines, " in caught.value.hint
        with pytest.raises(OptionError, match="can't name an engine"):
            registry.register("engines", "a b", Engine)

    @pytest.mark.parametrize("text", ["dirichlet=0.3", "dirichlet(0.3)"])
    def test_another_notation(self, text: str) -> None:
        with pytest.raises(NameNotFoundError) as caught:
            registry.bind("splits", text)
        assert caught.value.hint.startswith("write dirichlet:0.3")

    def test_an_object_is_no_fusion(self) -> None:
        class Still(Fusion):
            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
                return weights, state

        with pytest.raises(OptionError, match="Still is given as an object"):
            fusion(Still())

    def test_options_are_keyword_only(self) -> None:
        def rule(weights: Any, updates: Any, beta: float = 0.9) -> Any: ...

        with pytest.raises(OptionError, match="beta is not keyword-only") as caught:
            fusion(rule)
        assert caught.value.hint == "write def rule(weights, updates, *, beta=0.9)"

        class Rule(Fusion):
            def __init__(self, beta: float = 0.9) -> None: ...

            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any: ...

        with pytest.raises(OptionError, match="beta is not keyword-only") as caught:
            fusion(Rule)
        assert "def __init__(self, *, beta=0.9)" in caught.value.hint

    def test_a_required_option_without_a_description(self) -> None:
        @fusion(name="needs_much")
        def needs(weights: Any, updates: Any, *, much: float) -> Any: ...

        with pytest.raises(OptionError) as caught:
            registry.create("fusions", "needs_much")
        assert caught.value.hint == "write it as needs_much:much=..."

    def test_a_function_that_is_not_registered(self) -> None:
        def odd(labels: Any, num_parties: int, rng: Any) -> Any: ...

        space = {"model": nn.Linear(2, 2), "data": ROWS, "odd": odd}
        with pytest.raises(NameNotFoundError, match="function odd of this notebook") as caught:
            Run(RunSpec(data="data", split="odd"), space)
        assert caught.value.hint == "add @split above it"


class TestFromPython:
    def test_text_values_are_quoted(self) -> None:
        with pytest.raises(OptionError, match="rounds='three' is not allowed"):
            RunSpec(rounds="three")

    def test_a_component_is_given_by_its_name(self) -> None:
        with pytest.raises(OptionError) as caught:
            RunSpec(fusion=Fusion)
        assert 'fusion="name:option=0.5"' in caught.value.hint

    def test_a_model_by_a_name_that_is_no_file(self) -> None:
        with pytest.raises(NameNotFoundError, match="model='modle' names no file") as caught:
            fusion_nb.federate("modle", ROWS)
        assert ".pt" in caught.value.hint

    def test_a_name_that_is_no_variable(self) -> None:
        torch.manual_seed(0)
        with pytest.raises(OptionError, match="can't name a variable"):
            fusion_nb.federate(nn.Linear(2, 2), ROWS, name="x y")

    def test_a_faulty_file_of_options(self, tmp_path: Path) -> None:
        file = tmp_path / "run.yaml"
        file.write_text("rounds: 3\nsplit: [")
        with pytest.raises(OptionError, match=r"run\.yaml: the file is not YAML in line 2"):
            from_file(str(file))
        for text, message in (("batch_size: many", "batch_size: many is not"), ("zzz: 3", "'zzz'")):
            file.write_text(text)
            with pytest.raises(OptionError) as caught:
                options.to_spec(options.read(f"--config {file}"))
            assert caught.value.message.startswith(f"{file}: ")
            assert message in caught.value.message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-rounds 3", "it has two dashes: --rounds"),
        ("--rounds", "it takes a whole number >= 1"),
        ("rounds=3", "write --rounds 3"),
        ("run batch_size=3", "write --batch-size 3"),
        ("--parties 3 rounds=3", "write --rounds 3"),
    ],
)
def test_on_the_option_line(line: str, message: str) -> None:
    with pytest.raises(FusionError) as caught:
        options.read(line)
    assert message in caught.value.hint


def test_a_variable_with_the_name_of_a_built_in_is_noted() -> None:
    space = {
        "model": nn.Linear(2, 2),
        "data": ROWS,
        "sgd": torch.optim.Adam,
    }
    run = Run(RunSpec(data="data", optimizer="sgd", parties=2), space)
    assert any("optimizer is the variable 'sgd'" in note for note in run.notes)
    del space["sgd"]
    run = Run(RunSpec(data="data", optimizer="sgd", parties=2), space)
    assert not any("is the variable" in note for note in run.notes)
