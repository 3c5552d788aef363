"""Runs that cells begin are saved in a cache, listed, and taken up again by one line."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from fusion_nb.runs.checkpoints import saving
from fusion_nb.runs.session import RUNS

pytestmark = pytest.mark.usefixtures("saved_alone")

CELL = (
    "from torch import nn\n"
    "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10))\n"
)
LINE = "--rounds 3 --lr 0.05 --quiet"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(saving.VARIABLE, str(folder))
    return folder


def forget(ip: Any) -> None:
    """Forget all runs, as a new kernel does."""
    RUNS.clear()
    ip.shell.reset()
    ip.shell.run_line_magic("load_ext", "fusion_nb")


def test_a_cell_is_saved_and_resumed_by_one_line(ip: Any, cache: Path) -> None:
    ip.run(f"%%fusion {LINE} --rounds 100000 --background\n{CELL}")
    first = ip.ns["run"]
    enough = threading.Event()
    first.subscribe(lambda run: enough.set() if len(run.records) >= 2 else None)
    assert enough.wait(240)
    first.stop()
    forget(ip)
    listed = ip.run("%fusion runs").text
    assert f"on disk: run, round {len(first.records)} of 100000" in listed
    seen = ip.run("%fusion resume --background --quiet")
    assert seen.error is None, seen.text
    resumed = ip.ns["run"]
    more = threading.Event()
    resumed.subscribe(lambda run: more.set() if len(run.records) > len(first.records) else None)
    assert more.wait(240)
    resumed.stop()
    assert resumed.history["loss"][: len(first.records)] == first.history["loss"]
    assert len(list(cache.iterdir())) == 1
    assert "on disk" not in ip.run("%fusion runs").text


def test_a_named_folder_is_resumed_by_its_name(ip: Any, tmp_path: Path) -> None:
    ip.run(f"%%fusion {LINE} --checkpoint {tmp_path / 'mine'}\n{CELL}")
    whole = ip.ns["run"]
    forget(ip)
    shutil.rmtree(tmp_path / "mine" / "round-000003")
    seen = ip.run(f"%fusion resume {tmp_path / 'mine'} --quiet --engine local:workers=1")
    assert seen.error is None, seen.text
    assert ip.ns["run"].history["loss"] == whole.history["loss"]
    assert (tmp_path / "mine" / "round-000003").is_dir()


def test_named_folders_are_listed_and_resumed_by_name(ip: Any, cache: Path, tmp_path: Path) -> None:
    for name in ("mine", "gone"):
        ip.run(f"%%fusion {LINE} --name {name} --checkpoint {tmp_path / name}\n{CELL}")
    whole = ip.ns["mine"]
    assert "on disk" not in ip.run("%fusion runs").text  # they are in the kernel
    forget(ip)
    shutil.rmtree(tmp_path / "mine" / "round-000003")
    shutil.rmtree(tmp_path / "gone")
    listed = ip.run("%fusion runs").text
    assert "on disk: mine, round 2 of 3, saved" in listed
    assert f"%fusion resume {tmp_path}/mine" in listed
    assert "gone" not in listed
    seen = ip.run("%fusion resume mine --quiet")
    assert seen.error is None, seen.text
    assert ip.ns["mine"].history["loss"] == whole.history["loss"]
    assert (tmp_path / "mine" / "round-000003").is_dir()
    assert [path.name for path in cache.iterdir()] == ["named.json"]


def test_a_run_from_python_is_listed(ip: Any, cache: Path, tmp_path: Path) -> None:
    from torch import nn

    import fusion_nb

    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    fusion_nb.federate(model, rounds=1, lr=0.05, checkpoint=str(tmp_path / "mine"), name="other")
    forget(ip)
    assert "on disk: other, round 1 of 1" in ip.run("%fusion runs").text


def test_an_unfinished_run_is_not_replaced(ip: Any, tmp_path: Path) -> None:
    line = f"%%fusion {LINE} --checkpoint {tmp_path / 'mine'}\n{CELL}"
    ip.run(line)
    assert ip.run(line).error is None  # a finished one is
    shutil.rmtree(tmp_path / "mine" / "round-000003")
    error = ip.run(line).error
    assert "holds round 2 of 3" in str(error)
    assert str(error).count("\n") == 1


def test_saving_by_default_is_in_no_cell_and_no_card(ip: Any, cache: Path) -> None:
    ip.run(f"%%fusion {LINE}\n{CELL}")
    run = ip.ns["run"]
    assert "checkpoint" not in run.spec.to_cell()
    assert "checkpoint" not in run.result().cell
    assert "checkpoint" not in run.result().spec
    assert "checkpoint" not in str(run.notes)
    assert str(cache) in run.storage.notes[0]


@pytest.mark.parametrize("line", ["%fusion checkpoint off", ""])
def test_saving_is_switched_off_by_one_line(ip: Any, cache: Path, line: str) -> None:
    before = os.environ[saving.VARIABLE]
    try:
        if line:
            assert ip.run(line).text == "runs are not saved\n"
        option = "" if line else "--checkpoint off"
        ip.run(f"%%fusion {LINE} {option}\n{CELL}")
        assert not cache.exists()
        assert ip.ns["run"].storage.notes == []
    finally:
        os.environ[saving.VARIABLE] = before


def test_a_cache_that_cannot_be_written_is_a_note(ip: Any, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    seen = ip.run(f"%%fusion {LINE}\n{CELL}")
    assert seen.error is None
    assert ip.ns["run"].status == "finished"
    (note,) = ip.ns["run"].storage.notes
    assert note.startswith("warning: this run has no checkpoint")


def test_a_name_that_nothing_has_is_one_line(ip: Any, cache: Path) -> None:
    error = ip.run("%fusion resume nothing").error
    assert "there is no saved run called 'nothing'" in str(error)


def test_an_option_of_the_run_cannot_be_given_anew(ip: Any, cache: Path) -> None:
    error = ip.run("%fusion resume nothing --rounds 5").error
    assert "takes no --rounds" in str(error)


def test_the_panel_and_the_status_line_say_what_is_on_disk(ip: Any, cache: Path) -> None:
    from fusion_nb import Panel
    from fusion_nb.notebook.live import status_html

    ip.run(f"%%fusion {LINE} --rounds 100000 --background\n{CELL}")
    run = ip.ns["run"]
    first = threading.Event()
    run.subscribe(lambda run: first.set() if run.records else None)
    assert first.wait(240)
    assert str(cache) in status_html(run)
    run.stop()
    forget(ip)
    panel = Panel(namespace=ip.ns)
    assert panel.run is None
    assert "run was cut short after round" in panel.screen.saved_run
    assert "Resume saved run" in panel.screen.buttons
