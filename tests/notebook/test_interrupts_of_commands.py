"""An interrupt at any moment of a command: one line, and the run that it is about goes on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from cells import fuse

from fusion_nb.errors import FusionError
from fusion_nb.runs.checkpoints.folder import CheckpointFolder

#: Moments of a command at which an interrupt comes, as parts of the calls that it makes.
MOMENTS = [0.04, 0.4, 0.97]


class InterruptAtCall:
    """Interrupts the main thread at a call of this package's functions, once; it counts them."""

    def __init__(self, number: int = -1) -> None:
        self.number, self.count = number, 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call" or not frame.f_globals.get("__name__", "").startswith("fusion_nb."):
            return
        if self.count == self.number:
            self.count += 1
            signal.raise_signal(signal.SIGINT)
        self.count += 1

    def run(self, ip: Any, line: str) -> Any:
        sys.setprofile(self)
        try:
            return ip.run(line)
        finally:
            sys.setprofile(None)


@pytest.fixture
def paused(ip: Any, tmp_path: Path) -> Iterator[Any]:
    """A run in the background, of which some rounds are whole, and which is held then."""
    ip.run("import numpy as np\nrows = (np.random.rand(60, 4).astype('f4'), np.arange(60) % 2)")
    body = "from torch import nn\nmodel = nn.Linear(4, 2)\n"
    checkpoint = tmp_path / "saved"
    line = (
        f"--data rows --parties 2 --rounds 3 --name first --checkpoint {checkpoint}:keep=9 --quiet"
    )
    assert fuse(ip, line, body).error is None
    assert fuse(ip, line.replace("first", "other").replace("saved", "o"), body).error is None
    begin = "--data rows --parties 2 --rounds 100000 --name held --background --quiet"
    assert fuse(ip, begin, body).error is None
    held = ip.ns["held"]
    held.pause()
    yield ip
    held.stop()


COMMANDS = [
    "%fusion status held",
    "%fusion runs",
    "%fusion compare first other",
    "%fusion split --data rows --parties 2",
    "%fusion audit first",
    "%fusion status first --follow",
]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_interrupted_is_one_line(
    command: str, moment: float, paused: Any, tmp_path: Path
) -> None:
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    paused.run(command)  # the first time has more calls
    whole = InterruptAtCall()
    expected = whole.run(paused, command)
    assert expected.error is None, expected.text
    broken = InterruptAtCall(int(moment * whole.count))
    seen = broken.run(paused, command)
    assert broken.count > broken.number, "no interrupt came"
    assert "Traceback" not in seen.text
    assert "KeyboardInterrupt" not in seen.text
    if seen.error is not None:
        assert isinstance(seen.error, FusionError)
        assert "interrupted" in seen.error.message
        assert "launched a run" not in seen.error.message
    assert paused.ns["held"].status == "paused"
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    again = paused.run(command)
    assert again.error is None
    assert bool(again.outputs) == bool(expected.outputs)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_resume_that_is_interrupted_leaves_a_whole_run(
    moment: float, paused: Any, tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path / "saved")
    folder.rounds()[-1].rename(tmp_path / "away")
    assert folder.latest().round == 2
    command = f"%fusion resume {tmp_path / 'saved'} --name again --quiet"
    broken = InterruptAtCall(int(moment * 6_000))
    seen = broken.run(paused, command)
    assert "Traceback" not in seen.text
    assert seen.error is None or isinstance(seen.error, FusionError)
    run = paused.ns.get("again")
    if run is not None:
        run.training.settle()
        assert run.status in ("stopped", "finished")
        assert len(run.history) in (2, 3)
    assert folder.latest().round in (2, 3)
    assert not folder.is_in_use
    if folder.latest().round == 2:
        assert paused.run(command.replace("again", "anew")).error is None
    assert folder.latest().round == 3
