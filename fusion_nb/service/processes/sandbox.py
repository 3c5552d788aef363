"""What the service's worker processes have in common: they can be spared, and they read what
clients sent.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_nb.data import handlers
from fusion_nb.errors import DataError, FusionError
from fusion_nb.runs.spec import RunSpec
from fusion_nb.service.storage.run_folder import Folder, read_npz


def be_expendable(max_memory: int) -> None:
    """Let this process be the one that the system ends where memory runs out, and at `max_memory`
    bytes (0: none).
    """
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")
    if max_memory:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (max_memory, max_memory))


def own_channel() -> int:
    """Return a file for answers, and let what others print to standard output go where errors
    go.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers


def rows_of(party: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what a party's data handler reads: its training rows, and its test rows or None."""
    path: Path = party["path"]
    name = party["handler"]
    custom = path / "handler.py"
    if not custom.exists():
        return handlers.read(handlers.find(name, {}), str(path / party["file"]))
    try:
        return handlers.read(handlers.find(f"{custom}:{name}", {}), str(path / party["file"]))
    except MemoryError:
        raise
    except Exception as error:
        # Its words may quote rows, and are told to whoever asks for the run's status.
        line = f"the data handler of {party['party']} failed: {type(error).__name__}"
        raise DataError(line, "try it on the file where you wrote it") from error


def spec_and_namespace(folder: Folder) -> tuple[RunSpec, dict[str, Any]]:
    """Return a run of everything that was registered. Raises a FusionError, or what a client's own
    handler raises.
    """
    data: Any = {party["party"]: rows_of(party) for party in folder.registered()}
    if folder.test is not None:
        stored = read_npz(folder.test)
        data = data, (stored["x_test"], stored["y_test"])
    return RunSpec(**folder.about["options"], model=str(folder.model), data="data"), {"data": data}


def told(error: BaseException, *folders: Path) -> dict[str, str]:
    """Return an error as the server tells it to a client, who has no business to know where
    `folders` lie.

    A traceback stays in the aggregator's own log.
    """
    line, hint = _line_and_hint(error)
    for folder in (*folders, *(folder.parent for folder in folders), Path.cwd()):
        if folder == Path(folder.anchor):  # a service may well be started there
            continue
        inside = re.compile(re.escape(str(folder)) + r"(/|(?![\w.-]))")
        line, hint = (inside.sub("", text) for text in (line, hint))
    return {"error": line, "hint": hint, "kind": type(error).__name__}


def told_of_run(error: BaseException, folder: Folder) -> dict[str, str]:
    """Return an error of a run as it is told to all who ask for its status, so without anything of
    parties' rows.
    """
    found = told(error, *folder.parties.glob("*"), folder.path)
    line, hint = found["error"], found["hint"]
    if isinstance(error, DataError):  # what it quotes may be a label, or a text
        line, hint = (re.sub(r"'[^']*'", "'...'", text) for text in (line, hint))
    elif not isinstance(error, FusionError | MemoryError) and any(
        folder.parties.glob("*/handler.py")
    ):
        line = f"{type(error).__name__} while it trained, perhaps of a party's own data set"
    return {"error": line, "hint": hint}


def _line_and_hint(error: BaseException) -> tuple[str, str]:
    if isinstance(error, FusionError):
        return error.message, error.hint
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    if isinstance(error, MemoryError):
        first = "there was not enough memory"
    return f"{type(error).__name__}: {first}", "it comes from the model, the data or a data handler"
