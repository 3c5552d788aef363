"""The product on real data. Published set-ups at full length are in benchmarks/papers/."""

from __future__ import annotations

import math
import os
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks import mnist as cases
from benchmarks.papers import __main__ as papers
from benchmarks.speed import __main__ as speed
from fusion_nb import federate
from fusion_nb.data.image_datasets import Mnist


@pytest.mark.slow
def test_the_small_version_of_every_case_runs(
    mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.main(["--quick"])
    printed = capsys.readouterr().out
    assert float(re.search(r"fused (\d\.\d+),", printed)[1]) > 0.3


#: Groups of figures that take long even when they are small: most start other programs.
LONG = {"cnn", "first", "flower", "growth", "imports", "keras", "mlp", "notebook"}


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(group, marks=pytest.mark.slow if group in LONG else ())
        for group in speed.groups(quick=True)
    ],
)
def test_the_small_version_of_every_figure_of_speed_is_measured(mnist: Path, group: str) -> None:
    if group == "flower" and find_spec("flwr") is None:
        pytest.skip("flwr is not installed: pip install -c constraints.txt -e '.[bench]'")
    if group == "pfl" and not os.environ.get("PFL_PACKAGES") and find_spec("pfl") is None:
        pytest.skip("pfl-research is not at hand: pip install --target FOLDER pfl")
    rows = speed.main(["--quick", group])
    assert rows
    assert all(math.isfinite(row.value) for row in rows)


@pytest.mark.slow
def test_the_small_version_of_every_paper_runs(
    mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    papers.main(["--quick"])
    table = capsys.readouterr().out.partition("| case |")[2].splitlines()[2:]
    assert len(table) == len(papers.CASES)


@pytest.mark.slow
def test_two_parties_beat_either_alone_and_the_curve_repeats(mnist: Path) -> None:
    train, test = Mnist().get_data()
    assert test is not None
    rows = np.random.default_rng(0).choice(60000, 1000, replace=False)
    halves = {
        name: ((train[0][part], train[1][part]), test)
        for name, part in zip("ab", np.split(rows, 2), strict=True)
    }
    options = {"optimizer": "optim.Adadelta", "lr": 1.0}
    fused, again = (
        federate(cases.cnn_model(0), halves, rounds=5, epochs=3, **options) for _ in range(2)
    )
    assert fused.history["accuracy"] == again.history["accuracy"]
    alone = [
        federate(cases.cnn_model(0), {"one": half}, rounds=1, epochs=15, **options)
        for half in halves.values()
    ]
    assert fused.history["accuracy"][-1] > max(run.history["accuracy"][-1] for run in alone)
    assert fused.history["accuracy"][-1] > 0.93
