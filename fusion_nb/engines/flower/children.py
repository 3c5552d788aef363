"""The processes of a rehearsal, which end with the one that started them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from fusion_nb.engines.flower.child import ENVIRONMENT
from fusion_nb.errors import RunError

#: Seconds that a child may take until it is ready.
_START_SECONDS = 120.0
_LOOK_SECONDS = 0.1
#: Lines of a child's log that a message shows.
_SHOWN_LINES = 3


class Child:
    """A process of a rehearsal. Its output goes to a file in the rehearsal's folder."""

    def __init__(self, folder: Path, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        self.log, self.out = folder / f"{name}.log", folder / f"{name}.out"
        home = folder / "flower"
        with self.log.open("wb") as log, self.out.open("wb") as out:
            # A session of its own: an interrupt of the kernel (■) is not for it.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fusion_nb.engines.flower.child", *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=log,
                env={
                    **os.environ,
                    **ENVIRONMENT,
                    "FLWR_HOME": str(home),
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def wait_until(self, is_ready: Callable[[], bool], gate: Callable[[], None]) -> None:
        """Wait until the child is ready.

        Raises RunError with the end of its log where it ends before that, or Stopped.
        """
        end = time.monotonic() + _START_SECONDS
        while not is_ready():
            gate()
            if self.has_ended or time.monotonic() > end:
                how = f"ended (exit code {self._process.poll()})" if self.has_ended else "hangs"
                raise RunError(f"the {self.name} of the rehearsal {how}: {self.last_lines()}")
            time.sleep(_LOOK_SECONDS)

    def said(self) -> str:
        """Return its output so far."""
        return self.out.read_text()

    def has_said_something(self) -> bool:
        """Return whether it has written a line."""
        return self.said().endswith("\n")

    def last_lines(self) -> str:
        """Return the end of its log in one line."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "; ".join(line.strip() for line in text.strip().splitlines()[-_SHOWN_LINES:])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        stdin: IO[bytes] | None = self._process.stdin
        if stdin is not None:
            with suppress(OSError):
                stdin.close()


def free_address() -> str:
    """Return an address on this machine's loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def listens(address: str) -> bool:
    """Return whether somebody listens at an address."""
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False
