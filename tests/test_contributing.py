"""The examples of CONTRIBUTING.md work as pasted, in one notebook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core import registry

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = Path(__file__).parents[1] / "fusion_nb"
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def run_all(ip: Any) -> None:
    for block in BLOCKS:
        seen = ip.run(block)
        assert seen.error is None, f"{block}\n{seen.text}"


def test_every_example_runs_in_order(ip: Any) -> None:
    assert len(BLOCKS) == 7
    run_all(ip)
    assert ip.ns["run"].history["accuracy"][-1] > 0.8


def test_the_examples_work_from_a_cell(ip: Any) -> None:
    run_all(ip)
    cell = (
        "%%fusion --parties 4 --rounds 2 --split halves --fusion biggest:least=10 "
        "--engine in_order --name mine\nmodel = Softmax(784, 10)"
    )
    assert ip.run(cell).error is None
    assert len(ip.ns["mine"].history) == 2
    assert ip.run('mine.export("fused")').error is None
    with np.load("fused/model.npz") as file:
        assert set(file) == {"w", "b"}
    line = "--model fused/model.npz --parties 4 --fusion fedprox:mu=0.1 --rounds 1 --name more"
    assert ip.run(f"%fusion run {line}").error is None
    assert ip.ns["more"].history["accuracy"][0] > mine_accuracy(ip) - 0.05


def test_the_small_parts_work_in_a_run(ip: Any) -> None:
    run_all(ip)
    cell = (
        "%%fusion --parties 3 --rounds 9 --lr 0.5 --metrics unsure:limit=0.4 --sampling in_turn "
        "--lr-schedule halving:every=5 --callbacks good_enough --name small\nfrom torch import nn\n"
        "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))"
    )
    seen = ip.run(cell)
    assert seen.error is None, seen.text
    run = ip.ns["small"]
    assert [record.cohort for record in run.history[:3]] == [
        ("party 2",),
        ("party 3",),
        ("party 1",),
    ]
    assert 0 < run.history["unsure"][0] < 1
    assert run.history["lr"][:6] == [0.5] * 5 + [0.25]
    assert len(run.history) == 9 or run.history["accuracy"][-1] > 0.9


def mine_accuracy(ip: Any) -> float:
    accuracy: float = ip.ns["mine"].history["accuracy"][-1]
    return accuracy


def test_a_value_out_of_bounds_names_the_option_of_the_example(ip: Any) -> None:
    run_all(ip)
    seen = ip.run("%fusion run --model run.model --fusion clipped_momentum:momentum=2")
    assert "momentum" in str(seen.error)


def test_each_example_is_as_short_as_it_says(ip: Any) -> None:
    lines = [len(block.splitlines()) for block in BLOCKS]
    assert max(lines) < 80
    assert lines[0] < 12
    run_all(ip)
    assert "clipped_momentum" in registry.names("fusions")


def test_every_file_and_folder_that_it_names_exists() -> None:
    rooms = "core|data|models|engines|reporting|algorithms|runs|service|notebook"
    named = set(re.findall(rf"`((?:{rooms})/[\w/]*(?:\.py)?)`", TEXT))
    assert len(named) > 8
    absent = {name for name in named if "NAME" not in name and not (PACKAGE / name).exists()}
    assert not absent
