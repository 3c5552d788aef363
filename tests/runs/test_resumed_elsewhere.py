"""A run is taken up in a new process, with the curve of one that was never interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from saved_runs import Case, cut, dense_model, timeless, torch_model

import fusion_nb
from fusion_nb.core.arithmetic import digest
from fusion_nb.errors import FusionError

CHILD = """
import sys
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from pathlib import Path
from saved_runs import Case, timeless
from fusion_nb.core.arithmetic import digest
case = Case({options!r}, {framework!r})
run = case.resume(Path({folder!r}))
print(timeless(run))
print(digest(run.weights))
"""
CASES = {
    "torch": Case({"keep_optimizer": True, "optimizer": "adam", "personal": "ditto"}),
    "keras": Case({"keep_optimizer": True, "optimizer": "adam", "lr": 0.01}, "keras"),
    "doc2vec": Case({"baseline": "local"}, "doc2vec"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["torch", *(pytest.param(name, marks=pytest.mark.slow) for name in ("doc2vec", "keras"))],
)
def test_another_process_goes_on(name: str, tmp_path: Path) -> None:
    case, folder = CASES[name], tmp_path / "saved"
    whole = case.start(folder)
    cut(folder, 2)
    here = Path(__file__).parent
    code = CHILD.format(
        paths=[str(here), str(here.parent), str(here.parents[1])],
        options=dict(case.options),
        framework=case.framework,
        folder=str(folder),
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, history, weights = done.stdout.splitlines()
    assert history == timeless(whole)
    assert weights == digest(whole.weights)


class TestFromPython:
    def test_federate_and_resume(self, rows: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
        folder = tmp_path / "saved"
        whole = fusion_nb.federate(
            torch_model(), rows, rounds=4, checkpoint=f"{folder}:keep=9", fusion="fedadam"
        )
        cut(folder, 2)
        found = fusion_nb.resume(folder, torch_model(), rows, engine="local:workers=1")
        assert timeless(found) == timeless(whole)
        assert found.spec.checkpoint == str(folder)

    def test_other_rows_are_named_and_can_be_insisted_on(
        self, rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
    ) -> None:
        folder = tmp_path / "saved"
        x, y = rows
        parties = {"a": (x[:120], y[:120]), "b": (x[120:], y[120:])}
        fusion_nb.federate(torch_model(), parties, rounds=2, checkpoint=f"{folder}:keep=9")
        cut(folder, 1)
        changed = parties | {"b": (x[120:] + 1, y[120:])}
        with pytest.raises(FusionError, match="the rows of b are not those") as caught:
            fusion_nb.resume(folder, torch_model(), changed)
        assert "allow_other_rows" in caught.value.hint
        found = fusion_nb.resume(folder, torch_model(), changed, allow_other_rows=True)
        assert len(found.history) == 2

    def test_another_model_and_other_options_are_refused(
        self, rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
    ) -> None:
        folder = tmp_path / "saved"
        fusion_nb.federate(torch_model(), rows, rounds=1, checkpoint=folder.as_posix())
        with pytest.raises(FusionError, match="the saved run had another model"):
            fusion_nb.resume(folder, dense_model(), rows)
        with pytest.raises(FusionError, match="lr= is that of the saved run"):
            fusion_nb.resume(folder, torch_model(), rows, lr=0.5)
        with pytest.raises(FusionError, match="there is no saved run called"):
            fusion_nb.resume(tmp_path / "nothing", torch_model(), rows)
