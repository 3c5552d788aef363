"""The runs, parties and models that an audit can be about."""

from __future__ import annotations

import numpy as np

from fusion_nb.core.party import Party
from fusion_nb.errors import OptionError, RunError
from fusion_nb.models.base import Model
from fusion_nb.runs.federated.finding import is_at_parties
from fusion_nb.runs.handle import RunHandle
from fusion_nb.runs.run import Run

_IN_THE_KERNEL = "train it in the kernel, with rows that are here"


def check_run(run: object) -> None:
    """Raise a FusionError for anything but a run over parties whose rows are in this kernel."""
    if not isinstance(run, RunHandle):
        raise OptionError(
            f"an audit is of a run, and {str(run)[:40]!r} is a {type(run).__name__}",
            "give the run itself, as fusion_nb.audit(run), or its name to %fusion audit",
        )
    if run.result().rows_went_to:
        raise RunError(
            f"{run.name} was trained by a service, and an audit is only of parties in this kernel",
            _IN_THE_KERNEL,
        )
    if not isinstance(run, Run) or is_at_parties(run.spec.engine):
        raise RunError(
            f"the rows of {run.name} are with the owners of its parties, and an audit is only of "
            "parties in this kernel",
            _IN_THE_KERNEL,
        )


def rows_of(party: Party) -> np.ndarray:
    """Return a party's rows as an array. Raises RunError for rows of another form."""
    rows = party.train
    if not isinstance(rows, tuple):
        raise RunError(
            f"the rows of {party.id} are read one by one, by a Dataset or an app, so that none can "
            "be compared with an update",
            "audit a run on arrays, a table or words as numbers",
        )
    if not isinstance(rows[0], np.ndarray) or rows[0].dtype.kind not in "biuf":
        raise RunError(
            f"the rows of {party.id} are documents or several arrays, which no audit here is about",
            "audit a run on arrays, a table or words as numbers",
        )
    return rows[0]


def obstacle(model: Model) -> str:
    """Return why rows and labels are not read off updates of a model, or ""."""
    if model.weights_kind == "trees":
        return (
            f"rows and labels are read off changes of numbers, and parties of a {model.kind} send "
            "trees; their thresholds are numbers of rows, and their leaves tell labels"
        )
    if model.weights_kind == "statistics":
        return (
            f"parties of a {model.kind} send sums and counts of their rows, not trained weights; "
            "of one row these are the row and its label"
        )
    return ""
