"""An experiment: several runs of one question, trained in the background."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fusion_nb.errors import OptionError, RunError, option, python_spelling, spelled_in
from fusion_nb.reporting.charts import Chart
from fusion_nb.reporting.charts.bands import bands, multiples
from fusion_nb.reporting.experiments.leaderboard import Leaderboard, mean_and_std
from fusion_nb.reporting.formatting import duration
from fusion_nb.runs.checkpoints.option import CheckpointOption
from fusion_nb.runs.experiments import driver as driving
from fusion_nb.runs.experiments import origin
from fusion_nb.runs.experiments.comparing import findings
from fusion_nb.runs.experiments.comparing.comparison import Comparison
from fusion_nb.runs.experiments.comparing.costs import AXES
from fusion_nb.runs.experiments.comparing.entries import entries_of
from fusion_nb.runs.experiments.driver import Driver, Grid
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.searching import SearchedTrials
from fusion_nb.runs.experiments.spec import BANDS, ExperimentSpec
from fusion_nb.runs.experiments.trainers import crew_of
from fusion_nb.runs.experiments.training import Workshop
from fusion_nb.runs.experiments.trial import HasTrials, Trial
from fusion_nb.runs.experiments.trials import Trials
from fusion_nb.runs.listeners import Listeners
from fusion_nb.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd


class Experiment(HasTrials):
    """Several runs of one question: seeds, or options that vary, or both.

    spec:      the options;  namespace: where the names in them are looked up
    name:      in messages, and of the variable that it is bound to
    workshop:  makes the runs, by default from the namespace
    The first run is made at once, so that a mistake in the options is told before any training.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        namespace: Mapping[str, Any],
        *,
        name: str = "experiment",
        workshop: Workshop | None = None,
    ) -> None:
        self.spec, self.name = spec, name
        self._workshop = workshop or Workshop(namespace)
        self._listeners: Listeners[Experiment] = Listeners()
        search = spec.searched
        self._trials = Trials() if search else Trials(Trial(point) for point in spec.points())
        first = _first_run(spec, self._workshop, name)
        self.monitor: str = first.result().monitor
        self.metrics: tuple[str, str] = first.chart_metrics
        saved = CheckpointOption.parse(
            first.spec.checkpoint or str(spec.options.get("checkpoint", ""))
        )
        self.folder = ExperimentFolder(saved.folder) if saved else None
        self._origin = origin.origin_of(first)
        self._notes = _notes(spec, self._workshop.builds_model(spec.first()), first)
        width = spec.workers or 0
        width = self.folder.width(width) if self.folder else width
        source = (
            SearchedTrials(spec, search, self.monitor, width=width, add=self._trials.add)
            if search
            else Grid(self._trials)
        )
        self._crew = crew_of(
            *(spec, namespace, self.folder, self._trials, self._workshop, first),
            gate=lambda: self._driver.gate(),
        )
        self._driver = Driver(
            source,
            self._crew,
            name=name,
            folder=self.folder,
            notify=lambda: self._listeners.notify(self),
        )

    # Its state

    @property
    def status(self) -> str:
        """ready, running, paused, finished, stopped or failed."""
        return self._driver.status

    @property
    def notes(self) -> list[str]:
        """Sentences about what varies, and warnings, those of its runs too."""
        return [*self._notes, *self._crew.notes(), *self._trials.warnings()]

    @property
    def runs(self) -> list[Trial]:
        """Its runs, in order: settings, seed, status, history and reason of each."""
        return list(self._trials)

    @property
    def size(self) -> int:
        """The number of runs that it has in the end."""
        return self.spec.size

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes, judged by the runs that have ended; None where none has."""
        if self.status != "running":
            return None
        return driving.seconds_left(self._trials, self.size, self._driver.width)

    @property
    def best(self) -> Trial:
        """The finished run that is best by the monitored metric. Raises RunError without any."""
        found = self._trials.best(self.monitor)
        if found is None:
            raise RunError(f"no run of {self.name} is finished", f"{self.name}.runs tells why")
        return found

    @property
    def model(self) -> Any:
        """The framework's own model with the fused weights of the best run.

        Raises RunError where that run was read from a folder, which has no weights.
        """
        best = self.best
        if best.run is not None:
            return best.run.model
        if best.weights is None:
            raise RunError(
                f"the model of {best.name} is not kept in the folder of {self.name}",
                "train that run alone: print(experiment.best.facts.cell)",
            )
        made = self._workshop.make(best.point, best.name)
        return made.prepared.resolved.joined[0].native(best.weights)

    def subscribe(self, listener: Callable[[Experiment], object]) -> Callable[[], None]:
        """Call `listener(experiment)` after every round of a run and every change of status.

        Return a function that ends the subscription.
        """
        return self._listeners.add(listener)

    # Steering

    def start(self) -> Self:
        """Train in the background, and return at once. One that was stopped goes on."""
        with spelled_in(python_spelling):
            self._driver.start(self._begin)
        return self

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until all runs have ended, or for `timeout` seconds.

        An interrupt (■, Ctrl-C) stops it between two batches, and raises Interrupted after that.
        """
        with spelled_in(python_spelling):
            self._driver.wait(timeout)
        return self

    def stop(self, wait: bool = True) -> Self:
        """Stop between two batches. Runs that have ended stay, and `start` trains the others."""
        self._driver.stop(wait)
        return self

    def pause(self) -> Self:
        """Hold it between two batches until `resume`."""
        self._driver.pause()
        return self

    def resume(self) -> Self:
        """Go on after a pause."""
        self._driver.resume()
        return self

    # Its outcome

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with a row for each run, and a column for each thing that varies.

        An option of the name of a metric, as `loss`, has the column `loss (option)`.
        """
        import pandas as pd

        return pd.DataFrame(self._trials.rows())

    def compare(self, metric: str = "", target: float | None = None, band: str = "") -> Comparison:
        """Return its settings compared over their seeds; see `Comparison`.

        metric: by default the monitored one;  target: rounds until it is reached are told too
        band:   std or bootstrap, by default that of the experiment
        """
        with spelled_in(python_spelling):
            return Comparison(
                entries_of(self._trials),
                metric=metric or self.monitor,
                target=target,
                band=band or self.spec.band,
            )

    def plot(self, against: str = "round", *, kind: str = "bands") -> Chart:
        """Return the mean of each setting over its seeds, with its band.

        against: round, bytes, steps, seconds or epsilon
        kind:    bands, or multiples: a small chart for each
        """
        comparison = self.compare()
        curves = comparison.curves(self.metrics, against)
        against = AXES[against]
        if kind not in ("bands", "multiples"):
            raise OptionError(f"kind={kind!r} is not allowed", "there are: bands, multiples")
        if kind == "multiples":
            return multiples(curves, self.metrics[-1], against, BANDS[self.spec.band])
        return bands(curves, self.metrics, against, BANDS[self.spec.band])

    def leaderboard(self) -> Leaderboard:
        """Return the settings, the best first, with the mean and spread of the monitored metric."""
        return self.compare().leaderboard()

    def report(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one HTML page and one notebook with all there is, and return the files.

        They open without a kernel and without a network. Raises ExportError for a folder that
        exists, unless `overwrite` says that a report there may be replaced.
        """
        from fusion_nb.runs.experiments.report import write_report

        with spelled_in(python_spelling):
            return write_report(self, folder, overwrite=overwrite)

    def headline(self) -> str:
        """Return the experiment in one line: how far it is, the best, the time left."""
        ended, word = self._trials.counts(), "run" if self.size == 1 else "runs"
        parts = [
            f"{self.name}: {self.status}, {self.size} {word}" + (f" ({ended})" if ended else "")
        ]
        if self._driver.reason:
            parts.append(self._driver.reason)
        if best := self._trials.best(self.monitor):
            value = mean_and_std(best.value(self.monitor), math.nan)
            parts.append(f"best {self.monitor} {value} with {best.name}")
        if (left := self.seconds_left) is not None:
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"{self.headline()}\n{self.leaderboard()}" if self.has_rounds else self.headline()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        from fusion_nb.reporting.experiments.page import output

        chart = self.plot() if self.has_rounds else None
        board = self.leaderboard() if self.has_rounds else None
        return output(self.headline(), self.notes, chart, board, self.failed())

    def failed(self) -> list[str]:
        """Return a line for each run that failed."""
        return self._trials.failures()

    @property
    def has_rounds(self) -> bool:
        """Whether a run that did not fail has a whole round, so that there is something to draw."""
        return any(t.records and t.status not in ("failed", "pruned") for t in self._trials)

    def _begin(self) -> None:
        """Take the folder, and take over the outcomes that are saved in it."""
        if self.folder is None:
            return
        known = origin.origin_in(self.folder, self.spec, self._origin, self._workshop)
        self.folder.begin(self.name, self.spec, self._origin, known)
        self._trials.restore(self.folder.ended())


def _first_run(spec: ExperimentSpec, workshop: Workshop, name: str) -> Run:
    """Return the first run, which is checked and not trained."""
    try:
        return workshop.make(origin.first_point(spec), name)
    except OptionError as error:
        search = spec.searched
        if search is None or not search.metric or error.option != "monitor":
            raise
        message = f"{option('search', spec.search)}: the runs have no such metric"
        raise OptionError(message, error.hint) from None


def _notes(spec: ExperimentSpec, builds: bool, first: Run) -> list[str]:
    """Return sentences about what the seeds fix.

    builds: whether each seed builds a model of its own
    """
    packages = first.prepared.resolved.model.packages
    # Others draw the weights that they have, if any, when a run begins.
    is_built = not builds and any(name in packages for name in ("torch", "keras"))
    notes = [told] if (told := spec.told(is_built)) else []
    notes += findings.about_band(spec.band, len(spec.seeds))
    if len(spec.seeds) > 1 and "weights" in spec.varied and is_built:
        notes.append(
            "warning: the model was built before, so every run begins with its weights; to vary "
            "them, build it in the cell, or give a function that builds it as the model"
        )
    return notes
