"""A run: a checked spec, trained in the background, that answers for its rounds and its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.core.types import Failure, Weights
from fusion_nb.reporting.charts import Chart
from fusion_nb.reporting.parties import Parties
from fusion_nb.reporting.result import Best, Result, Text
from fusion_nb.runs.answers import Answers
from fusion_nb.runs.checkpoints.rounds import SavedRounds, Storage
from fusion_nb.runs.handle import RunHandle
from fusion_nb.runs.quality.predicted_rows import PredictedRows
from fusion_nb.runs.spec import RunSpec
from fusion_nb.runs.steering import Steering


class Run(Steering, PredictedRows, Answers, RunHandle):
    """One run of a spec, checked as far as it can be when it is made, and trained once it is
    started.

    spec:       the options;  namespace: where the names in it are looked up
    control:    pauses and stops it;  trained_by: makes the source of its rounds, by default a
                federation in this process
    earlier:    an earlier run of this spec, which it continues;  folder: where that is saved
    is_cached:  save it in the user's cache where the option `checkpoint` says nothing
    data:       the parties of the spec, where they were read before and no run trains with them

    Its parts, which programs ask for more:
    prepared:   the checked spec, with the objects behind it and the monitored metric
    federation: the federation that it trains, to be read and not to be changed
    training:   the `BackgroundRun` that drives the training
    outcome:    the `RunOutcome` that answers for its rounds
    callbacks:  what it calls when it begins, after each round, and at its end

    `model`, `history`, `parties`, `best`, `plot`, `summary` and `export` wait for a run
    that is under way, so that a later cell never sees half a run; while it is paused they answer
    for the last whole round. `status`, `records`, `failures`, `weights`, `write` and `result`
    never wait.
    """

    # Its options

    @property
    def name(self) -> str:
        """The name in messages, and of the variable that it is bound to."""
        return self.training.name

    @property
    def spec(self) -> RunSpec:
        """The options that repeat the run as it is planned now; `more` and `step` add rounds."""
        return self.outcome.specs.planned()

    @property
    def completed_spec(self) -> RunSpec:
        """The options that repeat the completed rounds; of a run that was stopped, those before the
        stop.
        """
        return self.outcome.specs.completed()

    @property
    def notes(self) -> list[str]:
        """Sentences about what was inferred from model and data, and warnings."""
        return self.outcome.notes

    @property
    def storage(self) -> Storage:
        """The folder where it is saved, and sentences about that."""
        return self._source.storage if isinstance(self._source, SavedRounds) else Storage()

    @property
    def formats(self) -> list[str]:
        """The formats that `export` writes this model in."""
        return list(self._source.model.formats)

    # Its state

    @property
    def status(self) -> str:
        """ready, running, paused, finished, stopped or failed."""
        return self.training.state.status

    @property
    def reason(self) -> str:
        """Why it ended, in words, or an empty string."""
        return self.training.state.reason

    @property
    def error(self) -> BaseException | None:
        """The exception that ended it, or None."""
        return self.training.state.error

    @property
    def planned(self) -> int:
        """The number of rounds that it has in the end, if nothing ends it early."""
        return self.training.state.planned

    @property
    def records(self) -> History:
        """The whole rounds so far, as a copy. It never waits."""
        return self.training.state.records

    @property
    def chart_metrics(self) -> tuple[str, str]:
        """The two metrics of charts: the loss, and the one that people read."""
        return self.outcome.chart_metrics

    @property
    def failures(self) -> list[Failure]:
        """All failures of parties, with their tracebacks; those of a round that was given up for
        them come last.
        """
        return self.outcome.failures

    @property
    def weights(self) -> Weights:
        """The fused weights of the last whole round, or the first ones: named arrays, not to be
        written to.
        """
        return self._source.weights

    # Its outcome

    @property
    def history(self) -> History:
        """The rounds, as a list that answers by column; a copy."""
        self.training.settle()
        return self.records

    @property
    def model(self) -> Any:
        """The framework's own model with the fused weights of the last whole round, in evaluation
        mode.

        It is the same object until there are further rounds; changing it changes no round and no
        export.
        """
        self.training.settle()
        return self.outcome.model()

    @property
    def best(self) -> Best:
        """The best round by the monitored metric. Raises RunError before the first whole round."""
        self.training.settle()
        return self.outcome.best()

    @property
    def parties(self) -> Parties:
        """Per party: rows, label counts, and the metrics of its own and the fused model on its own
        test rows.
        """
        self.training.settle()
        return self.outcome.parties()

    def plot(self, against: str = "round", *, by_time: bool = False) -> Chart:
        """Return the curves of loss and accuracy, against round, time (simulated) or epsilon.

        by_time: the same as against="time". Raises RunError for a run that has no such cost.
        """
        self.training.settle()
        return self.result().chart(against="time" if by_time else against)

    def summary(self) -> Text:
        """Return the run in a few lines."""
        self.training.settle()
        return self.result().summary()

    def export(
        self,
        path: str | Path,
        format: str | Sequence[str] = "",
        *,
        which: str = "last",
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the fused model, a card, the history and the chart into a new folder, and return
        the files.

        format: one or several of `formats`, the first of which is the default: pt, safetensors,
                whole, torchscript, pt2, onnx for PyTorch; keras, weights, savedmodel for Keras;
                doc2vec, gensim, word2vec for Doc2Vec; skops for scikit-learn; booster, ubj for
                XGBoost; txt for LightGBM
        which:  "last" or "best" round
        Raises ExportError before anything is written where it can be known; the folder is written
        whole or not at all.
        """
        return self.outcome.export(path, format, which, overwrite)

    def write(self, path: Path, format: str) -> None:
        """Write the fused model of the last whole round as one of `formats`, without a card."""
        self._source.model.save(path, self.weights, format)

    def result(self) -> Result:
        """Return the run as one record, as it stands now. It never waits."""
        return self.outcome.result()

    def __repr__(self) -> str:
        return self.result().headline()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return self.result().mimebundle()
