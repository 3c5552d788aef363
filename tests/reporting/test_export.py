"""An export is whole or not there at all, and what it holds is the model that was measured."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusion_nb import Run, RunSpec
from fusion_nb.core import arithmetic
from fusion_nb.errors import ExportError

pytestmark = pytest.mark.pictures


@pytest.fixture
def run(rows: Any, net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    x, y = rows
    data = ((x[:200], y[:200]), (x[200:], y[200:]))
    spec = RunSpec(data="data", lr=0.3, rounds=5, monitor="train_loss")
    return Run(spec, {"model": net(), "data": data}, name="trial").start().wait()


def test_a_folder_may_be_a_path(run: Run, tmp_path: Path) -> None:
    assert {path.parent for path in run.export(tmp_path / "model")} == {tmp_path / "model"}


@pytest.mark.parametrize("path", [5, None, ["fused"]])
def test_what_is_no_path_is_one_line(run: Run, path: Any) -> None:
    with pytest.raises(ExportError, match="is not the name of a folder"):
        run.export(path)


def test_the_folder_holds_everything(run: Run) -> None:
    written = run.export("fused", ["pt", "safetensors"])
    assert [path.name for path in written] == [
        *("CARD.md", "card.json", "chart.png", "history.csv", "model.pt", "model.safetensors"),
        "schema.json",
    ]
    card = json.loads(Path("fused/card.json").read_text())
    assert card["weights"]["sha256"] == arithmetic.digest(run.weights)
    assert card["metrics"]["accuracy"] == run.history["accuracy"][-1]
    assert [party["num_examples"] for party in card["parties"]] == [
        party.num_examples for party in run.parties
    ]
    assert len(card["history"]) == 5
    assert card["versions"]["torch"] == torch.__version__
    assert RunSpec(**card["spec"]) == run.spec
    assert card["chosen"] == {"fusion": "fedavg", "lr": 0.3, "optimizer": "sgd"}
    for name, digest in card["files"].items():
        assert hashlib.sha256(Path("fused", name).read_bytes()).hexdigest() == digest
    text = Path("fused/CARD.md").read_text()
    assert run.spec.to_cell() in text
    assert card["weights"]["sha256"] in text
    assert Path("fused/chart.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in Path().iterdir() if path.name != "fused"]


@pytest.mark.slow
def test_a_fresh_process_measures_the_same(run: Run, rows: Any) -> None:
    run.export("fused", ["whole", "pt"])
    np.savez("test.npz", x=rows[0][200:], y=rows[1][200:])
    script = (
        "import numpy as np, torch\n"
        "from torch.nn.functional import cross_entropy\n"
        "from pathlib import Path\n"
        "from fusion_nb.models.torch import files\n"
        "model = files.load(Path('fused/model_whole.pt')).eval()\n"
        "model.load_state_dict(torch.load('fused/model.pt'))\n"
        "data = np.load('test.npz'); x, y = torch.tensor(data['x']), torch.tensor(data['y'])\n"
        "with torch.no_grad(): out = model(x)\n"
        "print((out.argmax(1) == y).double().mean().item(), cross_entropy(out, y).item())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    accuracy, loss = map(float, done.stdout.split())
    assert accuracy == run.history["accuracy"][-1]
    assert loss == pytest.approx(run.history["loss"][-1], rel=1e-6)


def test_the_best_round_is_exported(run: Run) -> None:
    run.more(1).wait()
    run.export("best", which="best")
    assert json.loads(Path("best/card.json").read_text())["round"] == run.best.round


def test_an_older_export_is_replaced_only_with_overwrite(run: Run) -> None:
    run.export("fused")
    before = Path("fused/card.json").read_bytes()
    with pytest.raises(ExportError, match="already exists"):
        run.export("fused")
    assert Path("fused/card.json").read_bytes() == before
    run.more(1).wait()
    run.export("fused", overwrite=True)
    assert Path("fused/card.json").read_bytes() != before
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match="no earlier export"):
        run.export("mine", overwrite=True)
    assert Path("mine/thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.pt",), "an export is a folder"),
        (("a", "pth"), "no format is called 'pth'"),
        (("file/inside",), "can't be written"),
    ],
)
def test_wrong_targets_are_refused(run: Run, arguments: tuple[str, ...], said: str) -> None:
    Path("file").write_text("")
    with pytest.raises(ExportError, match=said):
        run.export(*arguments)
    with pytest.raises(ExportError, match="which='first'"):
        run.export("a", which="first")
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_a_failure_half_way_leaves_nothing_and_keeps_the_old(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.export("fused")
    before = {path.name: path.read_bytes() for path in Path("fused").iterdir()}

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(run.federation.model), "save", full)
    for target, overwrite in (("fused", True), ("other", False)):
        with pytest.raises(ExportError, match="No space left"):
            run.export(target, overwrite=overwrite)
    assert {path.name: path.read_bytes() for path in Path("fused").iterdir()} == before
    assert [path.name for path in Path().iterdir()] == ["fused"]


def test_a_folder_that_cannot_be_written_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(os, "access", lambda *args: False)  # as for anyone but root
    with pytest.raises(ExportError, match="can't be written to"):
        run.export("elsewhere/fused")


def test_before_the_first_round_the_first_weights_are_exported(
    rows: Any, net: Any, tmp_path: Path
) -> None:
    run = Run(RunSpec(data="data"), {"model": net(), "data": rows})
    run.export(str(tmp_path / "start"))
    state = torch.load(tmp_path / "start" / "model.pt")
    assert all(torch.equal(state[name], tensor) for name, tensor in net().state_dict().items())


def test_files_of_the_users_in_an_export_are_not_deleted(run: Run) -> None:
    run.export("fused")
    Path("fused/notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"no export wrote: notes.txt"):
        run.export("fused", overwrite=True)
    assert Path("fused/notes.txt").read_text() == "mine"


def test_the_card_of_the_best_round_tells_of_that_round(
    rows: Any, net: Any, tmp_path: Path
) -> None:
    spec = RunSpec(data="data", lr=1.5, rounds=8)
    run = Run(spec, {"model": net(), "data": rows}).start().wait()
    best = run.best.round
    run.export(str(tmp_path / "best"), which="best")
    card = json.loads((tmp_path / "best" / "card.json").read_text())
    told = {party["party"]: party["fused"]["accuracy"] for party in card["parties"]}
    assert told == {
        party: found["accuracy"] for party, found in run.history[best - 1].party_metrics.items()
    }
    text = (tmp_path / "best" / "CARD.md").read_text()
    assert all(f"| {name} |" in text for name in ("seed", "split", "epochs", "holdout"))


def test_a_failure_while_old_and_new_are_swapped_loses_neither(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.export("fused")
    before = Path("fused/model.pt").read_bytes()
    original, calls = Path.rename, []

    def failing(self: Path, target: Any) -> Any:
        calls.append(target)
        if len(calls) >= 2:  # neither the new folder nor the old one can be put in its place
            raise OSError(5, "Input/output error")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ExportError, match="Input/output error"):
        run.export("fused", overwrite=True)
    assert [path.read_bytes() for path in Path().glob(".fused.old.*/export/model.pt")] == [before]
