"""Functions shared by the child processes: limits, the channel to the server, rows, and errors.

A child process works inside an aggregator's folder and opens uploads by relative paths, so that no
error message tells a client where the server stores its files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_nb.core.files import storage
from fusion_nb.core.items import Unreadable
from fusion_nb.core.process import machine
from fusion_nb.data import handlers
from fusion_nb.engines.remote.link import OF_A_SERVICE
from fusion_nb.errors import DataError, FusionError
from fusion_nb.models import lookup
from fusion_nb.runs.spec import RunSpec
from fusion_nb.service.errors import RefusedError, storage_error
from fusion_nb.service.storage.run_folder import RunFolder

#: Characters of a foreign error's text that a client is shown.
_MAX_LINE = 300


def limit_process(max_memory: int) -> None:
    """Limit this process's address space, let the system kill it first if memory runs out, and
    forbid dumps of its memory.

    max_memory: bytes, or 0 for no limit
    """
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")
    machine.forbid_core_dumps()  # after the score, which such a process may not write
    if max_memory:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (max_memory, max_memory))


def open_channel() -> int:
    """Return a file descriptor for messages to the server.

    It takes the place of standard output; what libraries print goes to standard error from now on.
    """
    channel = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return channel


def relative(path: Path) -> str:
    """Return a path as seen from the current folder, for messages that clients may read."""
    return os.path.relpath(path)


def read_rows(party: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a party's training rows, and its test rows or None, as its data handler reads them."""
    folder: Path = party["path"]
    handler = party["handler"]
    file = folder / party["file"]
    custom = folder / "handler.py"
    if not custom.exists():
        return handlers.read(handlers.find(handler, {}), relative(file))
    try:
        return handlers.read(handlers.find(f"{custom}:{handler}", {}), str(file))
    except MemoryError:
        raise
    except Exception as error:
        # The text of a client's own error may quote rows, and all parties may read it.
        raise DataError(
            f"the data handler of {party['party']} failed: {type(error).__name__}",
            "try it on the file where you wrote it",
        ) from error


def _rows_or_failure(party: Mapping[str, Any]) -> Any:
    """Return a party's rows, or rows that fail when it trains: a quorum goes on without it."""
    try:
        return read_rows(party)
    except DataError as error:
        return Unreadable(error)


def spec_and_namespace(folder: RunFolder) -> tuple[RunSpec, dict[str, Any]]:
    """Return the run of an aggregator and its parties, with the objects that the spec names.

    Raises a FusionError for unsuitable data, or any error of a client's own data handler.
    """
    options = folder.about["options"]
    if folder.keeps_rows:
        given = {**options, "engine": OF_A_SERVICE}
        model = lookup.find(relative(folder.model), {})
        return RunSpec(**given, model="model"), {"model": model}
    may_fail = float(options.get("quorum") or 1) < 1
    data: Any = {
        party["party"]: _rows_or_failure(party) if may_fail else read_rows(party)
        for party in folder.registered()
    }
    if folder.test is not None:
        stored = storage.read_npz(folder.test)
        data = (data, (stored["x_test"], stored["y_test"]))
    model = lookup.find(relative(folder.model), {})
    spec = RunSpec(**options, model="model", data="data")
    return spec, {"model": model, "data": data}


def to_error(error: BaseException) -> FusionError:
    """Return any error as one that an HTTP answer can show to the client that sent the upload."""
    if isinstance(error, FusionError):
        return error
    if (full := storage_error(error)) is not None:
        return full
    return RefusedError(
        f"{type(error).__name__}: {_first_line(error)}",
        "it comes from the model, the data or a data handler",
    )


def to_public_error(error: BaseException, folder: RunFolder) -> FusionError:
    """Return an error of a run without anything of the rows, because all parties may read it."""
    is_custom = any(folder.parties.glob("*/handler.py"))
    if is_custom and not isinstance(error, FusionError | MemoryError):
        # A custom data set is still read while it trains, and its errors may quote rows.
        return RefusedError(
            f"{type(error).__name__} while it trained, perhaps of a party's own data set",
            "it comes from the model, the data or a data handler",
        )
    return to_error(error).redacted()


def _first_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "there was not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # the whole text names the file
    lines = str(error).strip().splitlines()
    return lines[0][:_MAX_LINE] if lines else "no further information"
