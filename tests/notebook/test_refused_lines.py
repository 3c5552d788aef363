"""Mistakes on the option line: each is refused in one line, with a hint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cells import CELL, fuse

from fusion_nb.errors import FusionError

BAD = {
    "--rouns 3": "did you mean '--rounds'",
    "--rounds 0": "give a whole number >= 1",
    "--rounds 1.5": "give a whole number",
    "--rounds": "--rounds has no value",
    "--lr -0.1": "give a number > 0",
    "--lr nan": "--lr nan is not allowed",
    "--lr inf": "--lr inf is not allowed",
    "--fraction 1.5": "give a number > 0 and <= 1",
    "--seed -1": "give a whole number >= 0",
    "--parties 100000": "only 1437 rows",
    "--split dirichlt": "did you mean 'dirichlet'",
    "--split dirichlet:alpah=1": "did you mean 'alpha'",
    "--fusion fedavgg": "did you mean 'fedavg'",
    "--engine lokal": "did you mean 'local'",
    "--optimizer adamm": "did you mean 'adam'",
    "--loss crossentropy": "did you mean 'cross_entropy'",
    "--device gpu": "there is no device 'gpu'",
    "--model modell": "did you mean 'model'",
    "--model gone.pt": "no file gone.pt",
    "--data digit": "did you mean 'digits'",
    "--data gone.npz": "no file gone.npz",
    "--data objects.npz": "could run code",
    "--data broken.npz": "can't be read",
    "--data flat": "does not take rows of shape (3,)",
    "--data many": "10 outputs, but labels run from 0 to 11",
    "--until 'acc > 1'": "names the metric 'acc'",
    "--metrics acu": "did you mean 'auc'",
    "--until high": "can't read 'high'",
    "--monitor acc": "did you mean 'accuracy'",
    "--name not-a-name": "can't name a variable",
    "--name print": "can't name a variable",
    "--name class": "can't name a variable",
    "--name model": "holds Sequential, not a run",
    "--seed 100000000000000000000": "give a whole number >= 0",
    "--data npz": "needs a file",
    "--until accuracy >= 0.9": "stands alone on the line",
    "stop a b": "has no use for 'b'",
    "--config gone.yaml": "can't be read",
    "--config bad.yaml": "there is no option 'round'",
    "'unclosed": "a quote is not closed",
    "stat": "did you mean 'stats'",
    "statu": "did you mean 'status'",
    "status --rounds 3": "takes no --rounds",
    "runs first": "has no use for 'first'",
    "status nobody": "no run is called 'nobody'",
    "export": "needs a folder",
    "help dirichlt": "did you mean 'dirichlet'",
    "list fusion": "did you mean 'fusions'",
}


@pytest.mark.parametrize("line", BAD)
def test_a_wrong_line_is_refused_in_one_line_with_a_hint(ip: Any, line: str) -> None:
    Path("broken.npz").write_bytes(b"nonsense")
    Path("bad.yaml").write_text("round: 3\n")
    np.savez("objects.npz", x_train=np.array([[1], [1, 2]], dtype=object), y_train=np.zeros(2))
    ip.ns["flat"] = (np.zeros((12, 3), dtype=np.float32), np.arange(12) % 10)
    ip.ns["many"] = (np.zeros((48, 1, 28, 28), dtype=np.float32), np.arange(48) % 12)
    ip.run(CELL)
    seen = ip.run(f"%fusion {line}")
    assert isinstance(seen.error, FusionError), seen.text
    assert BAD[line] in str(seen.error)
    assert seen.error.hint
    shown = [text for text in seen.text.splitlines() if text.strip()]
    assert len(shown) == 2
    assert "Traceback" not in seen.text
    assert "run" not in ip.ns
    assert not seen.outputs


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--metrcs", "did you mean '--metrics'?"),
        ("--num-clients", "did you mean '--clients'?"),
        ("--local-epochs", "did you mean '--epochs'?"),
        ("--learning-rate", "did you mean --lr?"),
        ("--test-size", "did you mean --holdout?"),
        ("--zebra", "%fusion help"),
        ("--verbose", "%fusion help"),
    ],
)
def test_only_an_option_that_is_near_is_suggested(ip: Any, option: str, meant: str) -> None:
    error = ip.run(f"%fusion run {option} 3").error
    assert isinstance(error, FusionError)
    assert error.hint.startswith(meant)


def test_a_command_takes_no_cell_and_a_run_must_exist(ip: Any) -> None:
    assert "takes no cell" in str(ip.run("%%fusion status\nx = 1").error)
    assert "no run yet" in str(ip.run("%fusion stop").error)
    assert "no run to compare" in str(ip.run("%fusion compare").error)


def test_a_command_takes_no_cell_where_an_experiment_is_the_latest(ip: Any) -> None:
    assert fuse(ip, "--seeds 0-1 --rounds 1 --parties 2").error is None
    for command in ("status", "stop", "compare"):
        assert "takes no cell" in str(ip.run(f"%%fusion {command}\nx = 1").error)


def test_a_model_without_its_cell_names_what_is_there(ip: Any) -> None:
    ip.run(CELL + "net = model; del model")
    assert "models here: net" in str(ip.run("%fusion").error or ip.run("%fusion --rounds 1").error)


def test_divergence_keeps_the_kernel_and_says_round_and_party(ip: Any) -> None:
    seen = fuse(ip, "--lr 1e20 --rounds 3")
    assert "party 1 became" in str(seen.error)
    assert "in round 1" in str(seen.error)
    assert ip.ns["run"].status == "failed"
    assert "failed" in ip.run("run").text
