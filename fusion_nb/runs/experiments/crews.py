"""The crews of experiments: one that stays as it is, and one that grows where that is faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from fusion_nb.core.process.machine import memory, num_cores
from fusion_nb.errors import cell_spelling
from fusion_nb.runs.experiments import processes
from fusion_nb.runs.experiments.crew import helpers
from fusion_nb.runs.experiments.crew.trainer import Joining, Trainer
from fusion_nb.runs.experiments.driver import seconds_left
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.here import TrainerHere
from fusion_nb.runs.experiments.spec import ExperimentSpec
from fusion_nb.runs.experiments.training import Workshop
from fusion_nb.runs.experiments.trial import TRIAL_ENDED, Trial
from fusion_nb.runs.experiments.trials import Trials
from fusion_nb.runs.run import Run

#: Seconds that the trials which are left have to take, one by one, before processes are started for
#: them; a process needs some two to begin.
WORTH_SECONDS = 8.0
#: Processes that join an experiment which asked for none, at most.
_MOST_JOINING = 3
#: Bytes that are sent to such a process, at most; and those that it takes besides.
_MOST_SENT, _OF_PROCESS = 256 << 20, 512 << 20
#: Cores that a notebook uses beside a run that trains: for its chart, say.
_BESIDE = 0.3
#: Engines that train in this process.
_ENGINES_HERE = ("auto", "local", "vectorized")


class FixedCrew:
    """Trainers that are there from the start to the end.

    make: makes them once the experiment begins
    """

    def __init__(self, make: Callable[[], Sequence[Trainer]]) -> None:
        self.begin = make

    def joining(self, num_left: int) -> Sequence[Joining]:
        """Return none."""
        return ()

    def joined(self, trainer: Joining) -> None:
        """Take no notice: nobody joins."""

    def notes(self) -> Sequence[str]:
        """Return none: it trains as it was asked to."""
        return ()


class GrowingCrew:
    """One trainer in this process; and worker processes once it is known that they save time.

    packages: those that the model needs

    They join where the trials that are left take long, cores and memory are free, all that the
    trials share can be sent, and each computes a trial that this process has trained with the same
    numbers. This is judged by how long the trials before took, which depends on the machine; but a
    curve is the same wherever it is computed.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        namespace: Mapping[str, Any],
        folder: ExperimentFolder | None,
        trials: Trials,
        workshop: Workshop,
        packages: Collection[str],
    ) -> None:
        self._spec, self._namespace, self._folder, self._trials = spec, namespace, folder, trials
        self._workshop, self._packages, self._num_joined = workshop, packages, 0
        self._is_open, self._times = True, _times()
        self._before: list[Trial] = []

    def begin(self) -> Sequence[Trainer]:
        """Return the trainer of this process."""
        self._is_open, self._times = True, _times()
        self._before = [trial for trial in self._trials if trial.status in TRIAL_ENDED]
        return [TrainerHere(self._workshop, self._folder, self._trials)]

    def joining(self, num_left: int) -> Sequence[Joining]:
        """Return worker processes as soon as they are worth it, and then no more."""
        before, self._times = self._times, _times()
        rest = seconds_left(self._trials, len(self._trials), 1) or 0.0
        shown = [t for t in self._trials if t.status == "finished" and t.records]
        shown = [trial for trial in shown if not any(trial is each for each in self._before)]
        # The next trial is begun here at once.
        if not (self._is_open and shown and num_left > 1) or rest < WORTH_SECONDS:
            return ()
        self._is_open = False
        passed, used = (now - then for now, then in zip(self._times, before, strict=True))
        cores = max(1.0, used / passed - _BESIDE)
        free = int(num_cores() / cores) - 1 - helpers.num_open()
        count = min(free, num_left - 1, _MOST_JOINING)
        try:
            return self._helpers(count, shown[0]) if count > 0 else ()
        except Exception:  # it can't be sent, say; all is trained here then
            return ()

    def joined(self, trainer: Joining) -> None:
        """Count one that has shown that its numbers are those of this process."""
        self._num_joined += 1

    def notes(self) -> Sequence[str]:
        """Return a sentence about the processes that have joined."""
        if not (count := self._num_joined):
            return ()
        others = "a worker process" if count == 1 else f"{count} worker processes"
        return (
            f"{count + 1} runs at a time: {others} joined this one, which changes no number; "
            f"{cell_spelling('workers', '0')} trains all in this one",
        )

    def _helpers(self, count: int, shown: Trial) -> Sequence[Joining]:
        """Return this number of worker processes, or as many as there is memory for.

        shown: a trial that this process has trained
        """
        packed = processes.packed_setup(self._spec, self._namespace, self._packages)
        if len(packed) > _MOST_SENT:
            return ()
        held, left = memory()
        # As much as this process holds stays free for it.
        room = (left - held) / (_OF_PROCESS + 3 * len(packed))
        return [
            helpers.Helper(packed, self._folder, self._trials, shown)
            for _ in range(int(min(count, room)))
        ]


def may_grow(spec: ExperimentSpec, workshop: Workshop, first: Run) -> bool:
    """Return whether the runs of an experiment may be trained in processes that it did not ask for.

    Not where a search takes each setting from the ones before, where a run's engine has workers of
    its own or a GPU, where callbacks and trackers are told of its rounds in this process, or where
    the cell's body defines the data, which another process would draw anew.
    """
    if spec.workers is not None or spec.search:
        return False
    options = {**spec.first().model_dump(), **spec.vary}
    engines = options["engine"] if isinstance(options["engine"], tuple) else (options["engine"],)
    return (
        all(str(engine).partition(":")[0] in _ENGINES_HERE for engine in engines)
        and not any(options[name] for name in ("callbacks", "log"))
        and first.prepared.resolved.model.thread_safe
        and not workshop.draws_data(first.spec)
    )


def _times() -> tuple[float, float]:
    """Return the seconds that have passed, and those of all cores that this process used."""
    return time.perf_counter(), time.process_time()
