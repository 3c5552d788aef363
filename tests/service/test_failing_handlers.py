"""A party's data handler that raises: a quorum goes on without it, and nobody else's run ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fusion_nb.errors import DataError
from fusion_nb.runs.run import Run
from fusion_nb.service.processes import sandbox

X, Y = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3
BROKEN = """
class Mine:
    def __init__(self, path):
        pass

    def get_data(self):
        raise ValueError("secret of a row")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A service's folder of a run of three parties, as far as it matters here."""
    monkeypatch.chdir(tmp_path)
    parties = []
    for name in ("north", "south", "west"):
        place = Path(name)
        place.mkdir()
        np.savez(place / "rows.npz", x_train=X, y_train=Y)
        is_broken = name == "south"
        if is_broken:
            (place / "handler.py").write_text(BROKEN)
        handler = "Mine" if is_broken else "npz"
        parties.append({"party": name, "path": place, "file": "rows.npz", "handler": handler})
    torch.save(torch.nn.Linear(4, 3), "model.pt")
    return SimpleNamespace(
        registered=lambda: parties,
        about={"options": {}},
        keeps_rows=False,
        test=None,
        model=Path("model.pt"),
    )


def test_a_quorum_goes_on_without_its_party(folder: Any) -> None:
    folder.about = {"options": {"quorum": 0.5, "rounds": 2}}
    run = Run(*sandbox.spec_and_namespace(folder)).start().wait(60)
    assert run.status == "finished"
    assert [[f.party for f in record.failures] for record in run.records] == [["south"]] * 2
    assert "the data handler of south failed: ValueError" in run.failures[0].error
    assert "secret" not in run.failures[0].error


@pytest.mark.parametrize("options", [{}, {"quorum": 1.0}])
def test_without_one_the_run_is_refused(folder: Any, options: dict[str, Any]) -> None:
    folder.about = {"options": options}
    with pytest.raises(DataError, match="the data handler of south failed: ValueError"):
        sandbox.spec_and_namespace(folder)
