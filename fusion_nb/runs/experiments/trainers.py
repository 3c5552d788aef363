"""Where the runs of an experiment are trained: in this process, in others, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fusion_nb.runs.experiments.driver import Trainer
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.here import TrainerHere
from fusion_nb.runs.experiments.spec import ExperimentSpec
from fusion_nb.runs.experiments.training import Workshop
from fusion_nb.runs.experiments.trials import Trials


def trainers_of(
    spec: ExperimentSpec,
    namespace: Mapping[str, Any],
    folder: ExperimentFolder | None,
    trials: Trials,
    workshop: Workshop,
    gate: Callable[[], None],
) -> Sequence[Trainer]:
    """Return the trainers of an experiment, one for each run that is trained at the same time.

    gate: called between two batches; it blocks during a pause, and raises Stopped for a stop
    """
    if not spec.workers:
        return [TrainerHere(workshop, folder, trials)]
    if spec.cluster:
        from fusion_nb.runs.experiments import on_ray

        return on_ray.trainers(spec, namespace, folder, trials, gate)
    from fusion_nb.runs.experiments import processes

    return processes.trainers(spec, namespace, folder, trials)
