"""The options that repeat a run, with its changes and the rounds that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_nb.runs import change_text
from fusion_nb.runs.background_run import BackgroundRun
from fusion_nb.runs.build import Prepared
from fusion_nb.runs.rounds import RoundSource
from fusion_nb.runs.spec import RunSpec


class RepeatingSpecs:
    """Answers which options repeat a run, as it stands now.

    prepared: the checked run;  source: trains its rounds;  training: drives it in the background
    """

    def __init__(self, prepared: Prepared, source: RoundSource, training: BackgroundRun) -> None:
        self._spec, self._federation = prepared.resolved.spec, prepared.federation
        self._source, self._training = source, training
        self._decided = _decided(prepared)

    @property
    def line_options(self) -> Mapping[str, str]:
        """Options of the line that repeats the run which are none of the run, as `service`."""
        return self._source.line_options

    def asked(self) -> RunSpec:
        """Return the planned run as it was asked for: what model and data decided is left open."""
        return self._of(self._training.state.planned)

    def planned(self) -> RunSpec:
        """Return the options that repeat the run as it is planned now."""
        return self.asked().model_copy(update=self._decided)

    def completed(self) -> RunSpec:
        """Return the options that repeat the rounds that were completed."""
        done = self._of(len(self._source.history) or self._training.state.planned)
        return done.model_copy(update=self._decided)

    def repeatable(self) -> RunSpec:
        """Return the options of the planned run while it may still reach them, and then of the
        rounds that were completed.
        """
        is_planned = self._training.state.status in ("ready", "running")
        return self.planned() if is_planned else self.completed()

    def _of(self, rounds: int) -> RunSpec:
        """Return the options that repeat that many rounds, with the changes since the start."""
        update: dict[str, Any] = {"rounds": rounds}
        if not self._training.state.stops_early:
            update |= {"until": "", "patience": 0}
        config = self._federation.config
        schedule = str(config.schedule)
        falls = self._federation.model.has_lr_schedule or (
            config.lr_schedule is not None and config.lr_schedule.begins_anew
        )
        if falls and schedule != f"0+{rounds}":
            update["schedule"] = schedule
        if self._federation.plan.changes:
            update["changes"] = change_text.to_text(self._federation.plan.changes)
        return self._spec.model_copy(update=update)


def _decided(prepared: Prepared) -> dict[str, Any]:
    """Return the options that the spec leaves open, as model and data decided them."""
    resolved = prepared.resolved
    spec, options = resolved.spec, resolved.train_options
    decided: dict[str, Any] = {}
    if spec.parties is None and not resolved.data.are_given:
        decided["parties"] = len(resolved.data.parties)
    if not spec.fusion and not spec.ensemble:
        decided["fusion"] = resolved.model.defaults["fusion"]
    if spec.lr is None and options["lr"] is not None:  # None: the optimizer has one of its own
        decided["lr"] = options["lr"]
    return decided


def without_checkpoint(spec: RunSpec) -> RunSpec:
    """Return a spec that is kept nowhere: where a run was saved has no part in repeating it."""
    return RunSpec(**spec.model_dump(exclude_unset=True, exclude={"checkpoint", "log"}))
