"""From a spec to a federation that is ready to train: resolve the names, check, assemble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.federation import Federation
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.types.table import TableSchema
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import FusionError
from fusion_nb.runs.assemble import assemble
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.identity import TrainingIdentity
from fusion_nb.runs.checkpoints.versions import are_same
from fusion_nb.runs.checks.ordered import run_checks
from fusion_nb.runs.clock.measuring import clock_notes, with_step_seconds
from fusion_nb.runs.contribution.after_training import AfterTraining
from fusion_nb.runs.resolve import Resolved, divide, resolve
from fusion_nb.runs.spec import RunSpec

__all__ = ["Prepared", "build", "divide", "prepare", "training_identity"]


@dataclass(frozen=True)
class Prepared:
    """A checked run: the objects behind its spec, its federation, and notes for the user."""

    resolved: Resolved
    federation: Federation
    notes: tuple[str, ...]
    #: Measures what is only measured after the last round.
    after: AfterTraining
    #: The earlier run that it continues.
    earlier: Checkpoint | None = None

    @property
    def monitor(self) -> str:
        """The metric that decides the best round and early stopping."""
        return self.resolved.spec.monitor or self.federation.model.metrics[0]


def prepare(
    spec: RunSpec,
    namespace: Mapping[str, Any],
    data: PartitionedData | None = None,
    *,
    control: RunControl | None = None,
    earlier: Checkpoint | None = None,
) -> Prepared:
    """Return the run of a spec, checked as far as it can be without training.

    namespace: where names of variables are looked up
    data:      the parties, if they were read before;  control: pauses and stops the run
    earlier:   an earlier run of this spec, which it continues
    Raises the FusionError of the first rule that is broken.
    """
    kept = earlier.schema.get("table") if earlier else None
    if data is None and kept:  # rows may be others, but are encoded as before
        data = divide(spec, namespace, TableSchema.from_json(kept))
    resolved = resolve(spec, namespace, data)
    notes = run_checks(resolved)
    resolved = with_step_seconds(resolved)
    federation = assemble(resolved, control, earlier)
    timed = clock_notes(resolved)
    after = AfterTraining(resolved, control)
    resumed = training_identity(resolved, earlier).notes if earlier else ()
    told = _written((*resolved.data.notes, *notes, *timed, *resumed))
    return Prepared(resolved, federation, told, after, earlier)


def _written(notes: Iterable[str]) -> tuple[str, ...]:
    """Return notes with the options in them written as a cell has them, as in an error."""
    return tuple(FusionError(note).message for note in notes)


def training_identity(resolved: Resolved, earlier: Checkpoint | None) -> TrainingIdentity:
    """Return the identity of a checked run, with notes where an earlier run had another one."""
    now = TrainingIdentity.of(resolved.model, resolved.train_options)
    if earlier is None:
        return now
    return earlier.training.after(now, earlier.round, same_versions=are_same(earlier.versions))


def build(
    spec: RunSpec, namespace: Mapping[str, Any], data: PartitionedData | None = None
) -> Federation:
    """Return the federation of a spec, as `prepare` does."""
    return prepare(spec, namespace, data).federation
