"""Where the runs of an experiment are trained: in this process, in others, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fusion_nb.runs.experiments import processes
from fusion_nb.runs.experiments.crew.trainer import Crew
from fusion_nb.runs.experiments.crews import FixedCrew, GrowingCrew, may_grow
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.here import TrainerHere
from fusion_nb.runs.experiments.spec import ExperimentSpec
from fusion_nb.runs.experiments.training import Workshop
from fusion_nb.runs.experiments.trials import Trials
from fusion_nb.runs.run import Run


def crew_of(
    spec: ExperimentSpec,
    namespace: Mapping[str, Any],
    folder: ExperimentFolder | None,
    trials: Trials,
    workshop: Workshop,
    first: Run,
    gate: Callable[[], None],
) -> Crew:
    """Return the crew of an experiment, with a trainer for each run that is trained at a time.

    first: the run of the experiment that is made first
    gate:  called between two batches; it blocks during a pause, and raises Stopped for a stop
    """
    packages = first.prepared.resolved.joined[0].single_model.packages
    if may_grow(spec, workshop, first):
        return GrowingCrew(spec, namespace, folder, trials, workshop, packages)
    if not spec.workers:
        return FixedCrew(lambda: [TrainerHere(workshop, folder, trials)])
    if spec.cluster:
        from fusion_nb.runs.experiments import on_ray

        return FixedCrew(lambda: on_ray.trainers(spec, namespace, folder, trials, packages, gate))
    return FixedCrew(lambda: processes.trainers(spec, namespace, folder, trials, packages))
