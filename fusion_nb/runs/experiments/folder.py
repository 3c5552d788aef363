"""The folder of an experiment: what is finished, and the checkpoints of what is under way."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_nb.core.files.storage import read_json, remove_drafts, write_json
from fusion_nb.errors import OptionError, RunError, option
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.experiments.spec import ExperimentSpec
from fusion_nb.runs.experiments.trial import TRIAL_ENDED, Trial
from fusion_nb.version import __version__

_ABOUT, _TRIALS, _RUNS, _FORMAT = "experiment.json", "trials", "runs", 1


class ExperimentFolder:
    """A folder that an experiment is saved in; every file in it is whole or absent.

    path: `experiment.json` in it has the options; `trials/` a file for each run that has ended;
          `runs/` the checkpoints of those that are under way
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._lock = CheckpointFolder(self.path)

    @staticmethod
    def is_one(path: str | Path) -> bool:
        """Return whether a folder holds an experiment."""
        return (Path(path).expanduser() / _ABOUT).is_file()

    def about(self) -> dict[str, Any]:
        """Return the name and the options. Raises RunError for a folder without an experiment."""
        try:
            found = read_json(self.path / _ABOUT)
        except (OSError, ValueError):
            found = {}
        if found.get("format") != _FORMAT or not isinstance(found.get("spec"), dict):
            raise RunError(f"there is no experiment in {self.path}", "name the folder of one")
        return found

    def width(self, asked: int) -> int:
        """Return the settings that a search tries at once: as many as when it began.

        asked: those of a new one
        With others it would draw other settings, and find none of those that are saved.
        """
        return int(self.about().get("width", asked)) if self.is_one(self.path) else asked

    def begin(
        self,
        name: str,
        spec: ExperimentSpec,
        origin: Mapping[str, Any],
        known: Mapping[str, Any],
    ) -> None:
        """Take the folder for an experiment, which may go on with what is saved in it.

        origin: digests of rows and first weights of the first run
        known:  those of the first run of the experiment that is saved, which must be as they were
        Raises RunError where another one writes to it, or OptionError where it holds another one.
        """
        self._lock.check()
        others = [p for p in self.path.iterdir() if p.name not in (_ABOUT, _TRIALS, _RUNS)]
        if others and not self.is_one(self.path):
            raise OptionError(
                f"{option('checkpoint', self.path)} holds other files, such as {others[0].name}",
                "name a new folder",
            )
        if self.is_one(self.path):
            self._check_same(self.about().get("origin", {}), known)
        self._lock.acquire(fresh=False)
        remove_drafts(self.path)
        (self.path / _TRIALS).mkdir(exist_ok=True)
        for key in self.ended():  # killed after the outcome was written, and before this
            shutil.rmtree(self.path / _RUNS / _file_name(key), ignore_errors=True)
        about = {
            "format": _FORMAT,
            "name": name,
            "spec": spec.to_dict(),
            "origin": dict(origin),
            "width": self.width(spec.workers or 0),
            "fusion_nb": __version__,
        }
        write_json(self.path / _ABOUT, about)

    def end(self) -> None:
        """Let others write to it."""
        self._lock.release()

    def ended(self) -> dict[str, dict[str, Any]]:
        """Return the outcomes of runs that have ended, by the key of their options."""
        found = {}
        for path in sorted((self.path / _TRIALS).glob("*.json")):
            try:
                outcome = read_json(path)
                found[str(outcome["key"])] = outcome
            except (OSError, ValueError, KeyError, TypeError):  # damaged: it is trained again
                continue
        return found

    def save(self, trial: Trial) -> None:
        """Save a trial that has ended, and remove its checkpoints."""
        if trial.status in TRIAL_ENDED:
            write_json(self.path / _TRIALS / f"{_file_name(trial.key())}.json", trial.to_dict())
            shutil.rmtree(self.of_run(trial), ignore_errors=True)

    def of_run(self, trial: Trial) -> Path:
        """Return the folder of a run's checkpoints."""
        return self.path / _RUNS / _file_name(trial.key())

    def _check_same(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        others = [name for name in now if name in before and before[name] != now[name]]
        if others:
            raise OptionError(
                f"{option('checkpoint', self.path)} holds an experiment with other "
                f"{' and '.join(others)}",
                "give the same model and data again, or name a new folder",
            )


def _file_name(key: str) -> str:
    # Not its number, which is another one in an experiment that has grown.
    return hashlib.sha256(key.encode()).hexdigest()[:16]
