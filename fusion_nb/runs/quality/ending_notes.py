"""The notes about a run that has ended, made once for each ending."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from fusion_nb.errors import ModelError
from fusion_nb.models.base import Model
from fusion_nb.models.class_weights import ClassWeighted
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.reporting.parties import Parties
from fusion_nb.runs.background_run import BackgroundRun
from fusion_nb.runs.build import Prepared
from fusion_nb.runs.quality.doubts import Ended, TestLabels, doubts
from fusion_nb.runs.rounds import RoundSource


class EndingNotes:
    """Sentences about a run that has ended; none about one under way, or that failed.

    prepared: the checked run;  source: of its rounds;  training: drives it
    """

    def __init__(self, prepared: Prepared, source: RoundSource, training: BackgroundRun) -> None:
        self._prepared, self._source, self._training = prepared, source, training
        self._made: tuple[Any, list[str]] = (None, [])

    def notes(self, parties: Callable[[], Parties]) -> list[str]:
        """Return the sentences; `parties` returns the parties' reports."""
        status, history = self._training.state.status, self._source.history
        if status not in ("finished", "stopped"):
            return []
        if self._made[0] != (len(history), status):
            spec, federation = self._prepared.resolved.spec, self._prepared.federation
            run = Ended(
                history,
                federation.model.metrics,
                self._prepared.monitor,
                parties(),
                self._test_labels,
                spec.model_dump(),
                is_personal=bool(spec.personal or spec.share),
                is_interrupted=status == "stopped",
                can_weigh=isinstance(self._prepared.resolved.model, ClassWeighted),
            )
            self._made = (len(history), status), [*doubts(run), *federation.counts.notes()]
        return self._made[1]

    @cached_property
    def _test_labels(self) -> TestLabels:
        """The labels of the test rows that the fused model is measured on."""
        resolved = self._prepared.resolved
        own = [test for _, test in resolved.data.labels.values() if len(test)]
        parts = own if resolved.test is None else [resolved.data.test_labels]
        model = resolved.model
        if not parts or model.data_kind != "numbers" or not _guesses_labels(model):
            return TestLabels(0, "none")
        return TestLabels.of(parts, resolved.data.schema.labels, model.ignored_label)


def _guesses_labels(model: Model) -> bool:
    """Return whether outputs stand for labels, as those of clusters, or of a loss of one's own, do
    not.
    """
    try:
        return not isinstance(model, PredictsRows) or model.task != "own"
    except ModelError:  # a language model: its labels are tokens
        return True
