"""An experiment of a file, trained by the command line: progress in lines, a folder, a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fusion_nb.errors import Interrupted, OptionError, RunError, option
from fusion_nb.reporting import export
from fusion_nb.reporting.formatting import duration
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.spec import OWN, ExperimentSpec
from fusion_nb.runs.experiments.trial import TRIAL_ENDED, Trial


def is_experiment(options: Mapping[str, Any]) -> bool:
    """Return whether a file's options are those of an experiment: seeds, or a list of values.

    >>> is_experiment({"lr": [0.1, 0.5]}), is_experiment({"fusion": "fedprox:mu=[0,1]"})
    (True, True)
    >>> is_experiment({"lr": 0.1, "metrics": "auc,f1"})
    False
    """
    return any(
        name in OWN
        or isinstance(value, list)
        or (isinstance(value, str) and _has_list(name, value))
        for name, value in options.items()
    )


def _has_list(name: str, text: str) -> bool:
    return name != "code" and "[" in text


def train_file(
    options: Mapping[str, Any],
    path: Path,
    *,
    report: str = "",
    overwrite: bool = False,
    say: Callable[[str], object],
) -> Experiment:
    """Train the experiment of a file, and write its report; the same call goes on after a kill.

    options:   those of the file;  path: of the file, whose name those of the folders begin with
    report:    a folder, by default NAME-report;  overwrite: an earlier report there is replaced
    say:       prints a line
    Raises RunError where runs failed and none has a whole round.
    """
    folder = Path(str(options.get("checkpoint") or f"{path.stem}-experiment"))
    spec = ExperimentSpec.of({**options, "checkpoint": str(folder)})
    target = report or f"{path.stem}-report"
    is_own = not report and (Path(target) / "report.html").is_file()
    export.check_target(target, (), (), overwrite or is_own)
    made = Experiment(spec, {"__name__": "__main__"}, name=path.stem.replace("-", "_"))
    for note in made.notes:
        say(note)
    is_begun = ExperimentFolder.is_one(folder)
    say(f"{made.size} runs, saved in {folder}" + ("; it goes on where it was" if is_begun else ""))
    made.subscribe(_Progress(say))
    try:
        made.start().wait()
    except Interrupted as error:
        raise Interrupted(
            f"{made.headline()}", f"the same command goes on with what is saved in {folder}"
        ) from error
    say(str(made))
    if not made.has_rounds:
        raise RunError("no run has a whole round", f"{'; '.join(made.failed()) or 'train again'}")
    files = made.report(target, overwrite=overwrite or is_own)
    say("\n".join(map(str, files)))
    return made


class _Progress:
    """Prints a line for each run that ends."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._told: set[str] = set()

    def __call__(self, made: Experiment) -> None:
        trials = made.runs
        ended = [trial for trial in trials if trial.status in TRIAL_ENDED]
        for trial in ended:
            if trial.key() not in self._told:
                self._told.add(trial.key())
                self._say(self._line(made, trial, len(self._told)))

    def _line(self, made: Experiment, trial: Trial, count: int) -> str:
        left = made.seconds_left
        rest = f"; about {duration(left)} left" if left else ""
        return f"{count} of {made.size}: {trial!r}{rest}"


def refuse_others(given: Mapping[str, object]) -> None:
    """Raise OptionError for options of the command that concern one run alone.

    given: option -> its value
    """
    for name, value in given.items():
        if value:
            raise OptionError(
                f"{option(name)} is for one run, and the file has an experiment",
                "leave it out: the same command goes on where the experiment was, and the report "
                "holds tables and cards",
            )
