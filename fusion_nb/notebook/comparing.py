"""`%fusion compare` of more than runs: experiments, folders, and the runs that trackers kept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_nb.core import registry
from fusion_nb.errors import NameNotFoundError, nearest
from fusion_nb.notebook.choosing import experiment_named
from fusion_nb.reporting.templates import shortened
from fusion_nb.runs import session
from fusion_nb.runs.experiments import calls
from fusion_nb.runs.experiments.comparing.comparison import Comparison, compare
from fusion_nb.runs.experiments.comparing.stored import is_stored
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.experiments.trial import Trial
from fusion_nb.runs.redaction import without_secrets
from fusion_nb.runs.run import Run

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

#: Characters of a word in a message, at most.
_MAX_NAME = 80
#: Values that a variable may hold to be compared by its name.
_COMPARABLE = (Run, Experiment, Trial, list, tuple, Path)


def concerns(shell: InteractiveShell, words: Sequence[str]) -> bool:
    """Return whether words name more than runs of this notebook.

    Without any, experiments are compared where there are no runs.
    """
    if not words:
        return bool(calls.EXPERIMENTS) and not session.RUNS
    return any(not isinstance(_named(shell, word), Run) for word in words)


def compare_named(shell: InteractiveShell, words: Sequence[str]) -> Comparison:
    """Return a comparison of all that words name: runs, experiments, folders, trackers.

    Raises NameNotFoundError for words that name nothing, before anything is read.
    """
    found = {word: _value(shell, word) for word in words or calls.EXPERIMENTS}
    if missing := [word for word, value in found.items() if value is None]:
        raise _nothing(missing)
    labels = _labels(found)
    return compare({labels[word]: value for word, value in found.items()})


def folders(fragment: str) -> list[str]:
    """Return the folders that a fragment of a path can become."""
    before, slash, _ = fragment.rpartition("/")
    parent = Path(f"{before}{slash}" or ".").expanduser()
    try:
        inside = sorted(path.name for path in parent.iterdir() if path.is_dir())
    except OSError:
        return []
    return [f"{before}{slash}{name}/" for name in inside if not name.startswith(".")]


def _named(shell: InteractiveShell, word: str) -> Any:
    """Return the run, the experiment or the variable of a name, or None."""
    if (experiment := experiment_named(shell, word)) is not None:
        return experiment
    variable = shell.user_ns.get(word)
    return variable if isinstance(variable, _COMPARABLE) else session.RUNS.get(word)


def _value(shell: InteractiveShell, word: str) -> Any:
    """Return what a word names, or None. A run comes before a folder of the same name."""
    if (found := _named(shell, word)) is not None:
        return found
    variable = shell.user_ns.get(word)
    text = variable if isinstance(variable, str) and not _is_folder(word) else word
    return text if is_stored(text) or _is_folder(text) else None


def _is_folder(text: str) -> bool:
    return os.path.isdir(os.path.expanduser(text))  # false for what can be no name of a folder


def _labels(found: Mapping[str, Any]) -> dict[str, str]:
    """Return a short name of each word: of a folder its last part, of a tracker its kind.

    Words of the same short name keep their whole text, without secrets.
    """
    short = {word: _short(word, value) for word, value in found.items()}
    counts = Counter(short.values())
    return {
        word: name if counts[name] == 1 else without_secrets(word) for word, name in short.items()
    }


def _short(word: str, value: Any) -> str:
    if not isinstance(value, str):
        return word
    return registry.parse(value)[0] if is_stored(value) else Path(value).name or word


def _nothing(missing: Sequence[str]) -> NameNotFoundError:
    known = [*session.RUNS, *calls.EXPERIMENTS]
    shown = [shortened(without_secrets(word), _MAX_NAME) for word in missing]
    trackers = registry.names("trackers")
    return NameNotFoundError(
        f"there is nothing to compare called {', '.join(map(repr, shown))}: no run, no "
        "experiment, no folder, no tracker",
        f"{nearest(missing[0].partition(':')[0], [*known, *trackers])}runs here: "
        f"{', '.join(known) or 'none yet'}; or give a folder that run.export() wrote, or a tracker "
        f"as --log has it ({', '.join(trackers)})",
    )
