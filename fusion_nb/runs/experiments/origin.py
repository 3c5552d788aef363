"""Whether an experiment has the rows and the first weights of the one that a folder holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fusion_nb.errors import FusionError
from fusion_nb.runs.checkpoints import rows
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.spec import ExperimentSpec, Point
from fusion_nb.runs.experiments.training import Workshop
from fusion_nb.runs.experiments.trial import key_of
from fusion_nb.runs.run import Run


def first_point(spec: ExperimentSpec) -> Point:
    """Return the first run of an experiment, or of a search one with the first values."""
    return Point(1, {}, spec.seeds[0], spec.first())


def origin_of(run: Run) -> dict[str, str]:
    """Return digests of the rows and of the first weights of a run."""
    return {
        "rows": _digest(rows.digests(run.prepared.resolved.data)),
        "first weights": run.result().initial_sha256,
    }


def origin_in(
    folder: ExperimentFolder, spec: ExperimentSpec, origin: Mapping[str, str], workshop: Workshop
) -> Mapping[str, str]:
    """Return the origin that the experiment in a folder has with the model and data of now.

    origin: that of the first run of `spec`
    A seed or a value may stand first now that was not there: then the first run of the saved
    experiment is made again, since another one has other rows and weights.
    """
    if not folder.is_one(folder.path):
        return origin
    try:
        saved = first_point(ExperimentSpec.of(folder.about()["spec"]))
        if key_of(saved) == key_of(first_point(spec)):
            return origin
        return origin_of(workshop.make(saved, "first"))
    except FusionError:  # of another version, or of a model that went by another name
        return origin


def _digest(found: Mapping[str, str]) -> str:
    return hashlib.sha256(str(sorted(found.items())).encode()).hexdigest()
