"""The runs on disk that were cut short: found, taken up again, and discarded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fusion_nb.errors import OptionError, RunError
from fusion_nb.notebook.panel.form import Form
from fusion_nb.notebook.panel.recipes import SavedRecipe
from fusion_nb.notebook.panel.run_controller import RunController
from fusion_nb.reporting.formatting import duration
from fusion_nb.reporting.templates import visible
from fusion_nb.runs import session
from fusion_nb.runs.checkpoints.checkpoint import read_about
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.checkpoints.option import CheckpointOption
from fusion_nb.runs.checkpoints.saving import SavedRun, saved_runs
from fusion_nb.runs.spec import RunSpec

#: Runs that are offered, at most.
_MOST = 20


@dataclass(frozen=True)
class OfferedRun:
    """A run on disk that was cut short, with the names of its model and data."""

    saved: SavedRun
    model: str
    data: str

    @classmethod
    def of(cls, saved: SavedRun) -> OfferedRun:
        """Return a run on disk with the names that its latest checkpoint tells."""
        defaults = {name: RunSpec.model_fields[name].default for name in ("model", "data")}
        spec = defaults | _spec_of(saved)
        return cls(saved, visible(spec["model"]), visible(spec["data"]))

    @property
    def path(self) -> Path:
        """The folder of its checkpoints."""
        return self.saved.path

    @property
    def short(self) -> str:
        """The run in a few words, for a list."""
        saved = self.saved
        reached = f"round {saved.round} of {saved.planned}"
        return f"{visible(saved.name)}: {reached}, {duration(saved.age)} ago"

    @property
    def line(self) -> str:
        """The run in one sentence."""
        saved = self.saved
        return (
            f"{visible(saved.name)} was cut short after round {saved.round} of {saved.planned}, "
            f"{duration(saved.age)} ago: model {self.model}, data {self.data}"
        )


class SavedRuns:
    """The runs that were cut short, in the cache and in the folder that the panel's controls name.

    Runs of this kernel, and those that another process is training, are not among them.
    """

    def __init__(self, runs: RunController, form: Form) -> None:
        self._runs = runs
        self._form = form
        #: The folders of the runs that were refused since their rows are others.
        self.refused: set[Path] = set()
        self._changed: Callable[[], object] = lambda: None

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener()` when a run was discarded."""
        self._changed = listener

    def find(self) -> list[OfferedRun]:
        """Look on disk, and return the runs, the newest first."""
        found = {run.path: run for run in saved_runs()}
        named = _in_folder(self._form.controls["checkpoint"].text)
        if named is not None:
            found[named.path] = named
        cut_short = (run for run in found.values() if not run.is_finished)
        newest_first = sorted(cut_short, key=lambda run: run.age)[:_MOST]
        return [OfferedRun.of(run) for run in newest_first if not is_in_use(run.path)]

    def resume(self, run: OfferedRun | None = None, *, allow_other_rows: bool = False) -> None:
        """Take up a run, by default the newest, and return at once; the panel's `wait` waits.

        It is trained to its planned end. Raises RunError while another run is running.
        """
        found = self.find() if run is None else [run]
        if not found:
            raise RunError("there is no saved run that was cut short", "Start begins a new run")
        self.resume_chosen(lambda: (found[0], allow_other_rows))

    def resume_chosen(
        self, choose: Callable[[], tuple[OfferedRun, bool]], delay: float = 0.0
    ) -> None:
        """Take up the run that `choose()` returns, and whether other rows are allowed.

        delay: seconds before `choose()` is called, in the panel's own thread
        """

        def read() -> SavedRecipe:
            controls = self._form.controls
            in_controls = {name: controls[name].text for name in ("model", "data")}
            run, allow_other_rows = choose()
            refused = partial(self.refused.add, run.path)
            return SavedRecipe(run.saved, in_controls, allow_other_rows, self._load, refused)

        self._runs.begin(read, delay)

    def discard(self, run: OfferedRun) -> None:
        """Remove the checkpoints of a run, and no other file.

        Raises RunError where a run writes to them, or where they can't be removed.
        """
        try:
            _remove_rounds(CheckpointFolder(run.path))
        except OSError as error:
            raise RunError(
                f"the checkpoints in {run.path} can't be removed ({error.strerror or error})",
                "remove that folder yourself, or keep it",
            ) from None
        finally:
            self._changed()

    def _load(self, spec: RunSpec) -> None:
        """Put the options of a run that was made into the controls."""
        self._form.load(spec.model_dump(exclude_defaults=True, exclude={"code"}))


def is_in_use(path: Path) -> bool:
    """Return whether a folder belongs to a run of this kernel, or a process writes to it."""
    known = {run.storage.folder for run in session.RUNS.values()}
    return str(path) in known or CheckpointFolder(path).is_in_use


def _remove_rounds(folder: CheckpointFolder) -> None:
    """Remove the checkpoints in a folder, and the folder unless it holds other files."""
    if not folder.rounds():  # another process has removed them
        return
    folder.acquire(fresh=False)
    try:
        for path in folder.rounds():
            shutil.rmtree(path)
    finally:
        folder.release()
    with suppress(OSError):
        folder.path.rmdir()


def _in_folder(text: str) -> SavedRun | None:
    """Return the run in the folder that the option `checkpoint` names, if there is one."""
    with suppress(OptionError, OSError):
        chosen = CheckpointOption.parse(text)
        return None if chosen is None else SavedRun.of(CheckpointFolder(chosen.folder))
    return None


def _spec_of(saved: SavedRun) -> dict[str, object]:
    for path in reversed(CheckpointFolder(saved.path).rounds_left()):
        with suppress(OSError, ValueError, TypeError, KeyError, RunError):
            return dict(read_about(path)["spec"])
    return {}
