"""The parts of a run, which its answers and its steering share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fusion_nb.core.run_control import RunControl
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import python_spelling, spelled_in
from fusion_nb.runs import changes
from fusion_nb.runs.background_run import BackgroundRun
from fusion_nb.runs.build import Prepared, prepare
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.saving import save_rounds
from fusion_nb.runs.early_stopping import predicates
from fusion_nb.runs.listeners import Listeners
from fusion_nb.runs.outcome import RunOutcome
from fusion_nb.runs.resolve import with_default_rounds
from fusion_nb.runs.rounds import FederationRounds, RoundSource
from fusion_nb.runs.spec import RunSpec
from fusion_nb.runs.trackers.tracking import callbacks_of

#: Returns where the rounds of a run are trained.
MakeRounds = Callable[[Prepared, RunControl], RoundSource]


class RunParts:
    """Makes the parts of a run, once.

    `Run` tells what they are, and derives from this class through those of its answers.
    """

    def __init__(
        self,
        spec: RunSpec,
        namespace: Mapping[str, Any],
        *,
        name: str = "run",
        control: RunControl | None = None,
        trained_by: MakeRounds = FederationRounds,
        earlier: Checkpoint | None = None,
        folder: Path | None = None,
        is_cached: bool = False,
        data: PartitionedData | None = None,
    ) -> None:
        control = control or RunControl()
        with spelled_in(python_spelling):
            spec = with_default_rounds(spec, namespace)
            self.callbacks, tracking = callbacks_of(self, spec, namespace, earlier)
            self.prepared = prepare(spec, namespace, data, control=control, earlier=earlier)
            self.federation = self.prepared.federation
            self._source = save_rounds(
                trained_by(self.prepared, control),
                self.prepared,
                name=name,
                planned_spec=lambda: self.outcome.specs.asked(),
                reason=lambda: self.training.state.reason,
                stop=control.stop,
                is_cached=is_cached,
                folder=folder,
                tracking=tracking,
            )
        self._listeners: Listeners[Any] = Listeners()
        self.training = BackgroundRun(
            self._source,
            control,
            spec.rounds,
            name=name,
            early_stopping=predicates(spec, self.prepared.monitor, earlier),
            callbacks=self.callbacks,
            on_change=lambda: self._listeners.notify(self),
        )
        self.outcome = RunOutcome(self.prepared, self._source, self.training)
        #: The run with its changes so far.
        self._changed = self.prepared.resolved
        if earlier is not None:
            self._changed = changes.after(self._changed, earlier.round)
