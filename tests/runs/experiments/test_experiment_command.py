"""`fusion-nb run FILE` for a file that holds an experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fusion_nb.cli import app

pytest.importorskip("torch")

CODE = """
code: |
  import numpy as np
  from torch import nn
  rows = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
  data = rows, (rows.sum(1) > 0).astype(int)
  model = nn.Linear(4, 2)
model: model
data: data
parties: 2
rounds: 2
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(text: str, *words: str) -> Result:
    Path("mine.yml").write_text(text + CODE, encoding="utf-8")
    return CliRunner().invoke(app, ["run", "mine.yml", *words])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("seeds: 0-1", 2),
        ("seeds: [0, 4]\nhold: split", 2),
        ("lr: [0.1, 0.5]", 2),
        ("lr: '[0.1,0.5]'\nseeds: 0-1", 4),
        ("fusion: 'fedavg,fedprox:mu=[0.1,1]'", 3),
    ],
)
def test_one_command_trains_prints_and_leaves_folder_and_report(text: str, size: int) -> None:
    found = run(text)
    assert found.exit_code == 0, found.output
    assert f"{size} runs, saved in mine-experiment" in found.output
    assert f"{size} of {size}: " in found.output
    assert Path("mine-report/report.html").is_file()
    assert len(list(Path("mine-experiment/trials").iterdir())) == size


def test_the_same_command_goes_on_and_trains_nothing_twice() -> None:
    run("lr: [0.1, 0.5]")
    outcome = next(Path("mine-experiment/trials").iterdir())
    outcome.unlink()
    left = next(Path("mine-experiment/trials").iterdir())
    before = left.stat().st_mtime_ns
    found = run("lr: [0.1, 0.5]")
    assert "it goes on where it was" in found.output
    assert found.exit_code == 0, found.output
    assert outcome.is_file()
    assert left.stat().st_mtime_ns == before


def test_folders_can_be_named() -> None:
    found = run("seeds: 0-1", "--checkpoint", "saved", "--report", "told")
    assert found.exit_code == 0, found.output
    card = json.loads(Path("told/card.json").read_text(encoding="utf-8"))
    assert len(card["trials"]) == 2
    again = run("seeds: 0-1", "--checkpoint", "saved", "--report", "told")
    assert again.exit_code == 2
    assert "told" in again.output
    overwritten = run("seeds: 0-1", "--checkpoint", "saved", "--report", "told", "--overwrite")
    assert overwritten.exit_code == 0


@pytest.mark.parametrize("words", [("--export", "x"), ("--resume", "x"), ("--metrics-folder", "x")])
def test_options_of_one_run_are_refused_before_any_training(words: tuple[str, str]) -> None:
    found = run("seeds: 0-1", *words)
    assert found.exit_code == 2
    assert f"{words[0]} is for one run" in found.output
    assert not Path("mine-experiment").exists()


def test_a_report_of_one_run_is_refused() -> None:
    found = run("lr: 0.1", "--report", "x")
    assert found.exit_code == 2
    assert "the file has one run" in found.output


@pytest.mark.parametrize(
    ("text", "message"),
    [("lr: [0.1, x]", "lr"), ("seeds: 0-1\nband: wide", "band"), ("seed: [0, 1]", "--seeds 0-4")],
)
def test_mistakes_are_one_line_before_any_training(text: str, message: str) -> None:
    found = run(text)
    assert found.exit_code == 2
    assert message in found.output
    assert not Path("mine-experiment").exists()
