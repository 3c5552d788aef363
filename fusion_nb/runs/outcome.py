"""The outcome of a run: its models, its parties, its record, and its export."""

from __future__ import annotations

import functools
import math
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Failure, Weights
from fusion_nb.errors import ExportError, OptionError, RunError
from fusion_nb.models.near_documents import FindsDocuments
from fusion_nb.reporting import export
from fusion_nb.reporting.contributions import Contributions
from fusion_nb.reporting.parties import Parties, PartyReport, by_kind
from fusion_nb.reporting.result import Best, Result, Similar
from fusion_nb.runs import predicting
from fusion_nb.runs.background_run import BackgroundRun
from fusion_nb.runs.build import Prepared
from fusion_nb.runs.checks.ordered import absent_options
from fusion_nb.runs.privacy.more import spent_by
from fusion_nb.runs.privacy.reports import report_notes
from fusion_nb.runs.quality.ending_notes import EndingNotes
from fusion_nb.runs.redaction import values_without_secrets
from fusion_nb.runs.repeating import RepeatingSpecs, without_checkpoint
from fusion_nb.runs.rounds import RoundSource


class RunOutcome:
    """Answers for the rounds that a run has so far, wherever they are trained.

    prepared: the checked run;  source: trains its rounds;  training: drives it in the background
    specs:    the options that repeat the run
    """

    def __init__(self, prepared: Prepared, source: RoundSource, training: BackgroundRun) -> None:
        self._prepared, self._source, self._training = prepared, source, training
        self._federation = prepared.federation
        self.specs = RepeatingSpecs(prepared, source, training)
        data = prepared.resolved.data
        self._absent_options = absent_options(prepared.resolved.model)
        if prepared.resolved.spec.lr_schedule:
            self._absent_options -= {"schedule"}
        has_classes = "accuracy" in self._federation.model.metrics
        self._label_counts = data.label_counts(with_test=False) if has_classes else {}
        self._chosen = _chosen_options(prepared)
        # Kept until there are other weights or further rounds.
        self._digest: tuple[Weights | None, str] = (None, "")
        self._native: tuple[Weights | None, Any] = (None, None)
        self._neighbours: tuple[int, Any] = (-1, None)
        self._ending = EndingNotes(prepared, source, training)

    @property
    def schema(self) -> DataSchema:
        """What rows and labels are, at every party alike."""
        return self._prepared.resolved.data.schema

    @property
    def notes(self) -> list[str]:
        """Sentences about what was inferred from model and data, and warnings."""
        of_baselines = [note for other in self._federation.baselines for note in other.notes]
        found = [*self._prepared.notes, *self._source.model.notes, *of_baselines]
        found += report_notes(self._prepared.resolved.spec, self._source.history)
        found += [*self._federation.network.engine.notes, *self._source.notes]
        found += self._training.callbacks.notes
        return [*found, *self._ending.notes(self.parties)]

    @property
    def chart_metrics(self) -> tuple[str, str]:
        """The two metrics of charts: the loss, and the one that people read."""
        model = self._federation.model
        if added := model.added_metrics:
            monitor = self._prepared.monitor
            return "loss", monitor if monitor in added else added[0]
        names = (*model.metrics[::-1], "train_loss")
        return "loss", next(name for name in names if name != "loss")

    @property
    def loss_name(self) -> str:
        """The name of the loss that the model is trained by, or "" where it is not known."""
        return self._source.model.single_model.loss_name

    @property
    def failures(self) -> list[Failure]:
        """All failures of parties; those of a round that was given up for them come last."""
        found = [failure for record in self._source.history for failure in record.failures]
        found += self._federation.post_training.failures
        return found + (
            list(self._federation.round_failures) if self._training.state.error is not None else []
        )

    @property
    def contributions(self) -> Contributions:
        """What each party adds to the fused model, measured after the last round."""
        return self.parties().contributions

    def model(self) -> Any:
        """Return the framework's own model with the fused weights of the last whole round."""
        weights = self._source.weights
        if self._native[0] is not weights:
            self._native = (weights, self._source.model.native(weights))
        return self._native[1]

    def best(self) -> Best:
        """Return the best round by the monitored metric."""
        record, monitor = self._source.history.best(self._prepared.monitor), self._prepared.monitor
        if record is None:
            raise self._no_round()
        weights = self._source.best_weights
        model = self._source.model.native(weights)
        return Best(record.round, monitor, record.metrics[monitor], arithmetic.copy(weights), model)

    def parties(self, round: int | None = None) -> Parties:
        """Return the parties' reports as of a round, or of the last one."""
        latest = self._source.history[:round].latest()
        has_whole = not self._federation.fusion.requires.local_layers
        class_name = self._prepared.resolved.data.class_name
        contributions, spent = self._prepared.after.contributions, spent_by(self._federation)
        reports = Parties(metric=self._prepared.monitor, contributions=contributions)
        for party in self._federation.parties:
            metrics = by_kind(latest.get(party.id, {}), self._federation.model.metrics)
            counts = self._label_counts.get(party.id, {})
            reports.append(
                PartyReport(
                    party.id,
                    party.num_examples,
                    party.num_test,
                    {class_name(label): count for label, count in counts.items()},
                    local=metrics["local"],
                    fused=metrics["fused"] if has_whole else {},
                    alone=metrics["alone"],
                    personal=metrics["personal"],
                    contribution=contributions.of(party.id),
                    _model=functools.partial(self._source.own_model, party.id),
                    _epsilon=functools.partial(spent, party.id) if spent else _no_epsilon,
                )
            )
        reports += [
            PartyReport(party, 0, rows, {}, fused=metrics, is_unseen=True)
            for party, rows, metrics in self._prepared.after.unseen.measured()
        ]
        return reports

    def similar(self, text: str | Sequence[str], topn: int) -> Similar:
        """Return the documents of the parties that are nearest to a text or its words."""
        is_words = isinstance(text, list | tuple) and all(isinstance(word, str) for word in text)
        if not (isinstance(text, str) or is_words) or topn < 1:
            raise OptionError(
                f"similar({text!r}, topn={topn}) is not allowed", "give a text, and topn >= 1"
            )
        model, num_rounds = self._source.model, len(self._source.history)
        if not isinstance(model, FindsDocuments):
            raise RunError(
                f"{self._training.name} has a {model.kind}, which has no vectors of documents",
                "use a Doc2Vec",
            )
        if not num_rounds:
            raise self._no_round()
        if self._neighbours[0] != num_rounds:
            found = model.neighbours(self._source.weights, self._federation.parties)
            self._neighbours = (num_rounds, found)
        return Similar(self._neighbours[1](text, topn))

    def predict(self, rows: Any, scores: bool) -> Any:
        """Return the fused model's predictions for rows that the user gives."""
        if not self._source.history:
            raise self._no_round()
        if self._federation.fusion.requires.local_layers:
            raise RunError(
                f"only the parties of {self._training.name} have whole models",
                "use the model of one: run.parties[0].model",
            )
        source = self._source
        return predicting.predict(source.model, source.weights, self.schema, rows, scores=scores)

    def export(
        self, given: str | Path, format: str | Sequence[str], which: str, overwrite: bool
    ) -> list[Path]:
        """Write the fused model of the last or the best round with its card into a new folder."""
        path = export.path_text(given)
        known = list(self._source.model.formats)
        if not known:
            raise ExportError(
                f"a {self._source.model.kind} is written in no format",
                'give its adapter formats = {"npz": "model.npz"}, and a save()',
            )
        formats = [format or known[0]] if isinstance(format, str) else list(format)
        if which not in ("last", "best"):
            raise ExportError(f"which={which!r} is not allowed", "use 'last' or 'best'")
        export.check_target(path, formats, known, overwrite)
        self._training.settle()
        weights, round = self._source.weights, len(self._source.history)
        if which == "best":
            best = self.best()
            weights, round = best.weights, best.round
        result = replace(self.result(), parties=self.parties(round))
        return export.write(path, result, self._source.model, weights, round, formats, overwrite)

    def result(self) -> Result:
        """Return the run as one record, as it stands now."""
        run, history = self._training.state, self._training.state.records
        best = history.best(self._prepared.monitor)
        error, status = run.error, run.status
        return Result(
            name=self._training.name,
            spec=values_without_secrets(
                self.specs.planned().model_dump(
                    exclude_none=True, exclude=self._absent_options | {"checkpoint", "log"}
                )
            ),
            chosen=self._chosen,
            cell=without_checkpoint(self.specs.repeatable()).to_cell(**self.specs.line_options),
            status=status,
            reason=run.reason,
            planned=run.planned,
            monitor=self._prepared.monitor,
            metrics=self.chart_metrics,
            best_round=best.round if best else 0,
            history=history,
            parties=self.parties(),
            notes=self.notes,
            schema=self.schema,
            initial_sha256=self._initial_sha256(),
            rows_went_to=self._source.rows_went_to,
            traceback="" if error is None else "".join(traceback.format_exception(error)),
        )

    def _initial_sha256(self) -> str:
        """Return the digest of the first weights, which exist after round 0 at the latest."""
        weights = self._federation.network.initial_weights
        if self._digest[0] is not weights:
            self._digest = (weights, arithmetic.digest(weights))
        return self._digest[1]

    def _no_round(self) -> RunError:
        name = self._training.name
        return RunError(f"{name} has no whole round yet", f"{name}.more() trains some")


def _no_epsilon() -> float:
    return math.nan


def _chosen_options(prepared: Prepared) -> dict[str, Any]:
    """Return the options that the model chose where the spec leaves them open."""
    spec, model = prepared.resolved.spec, prepared.resolved.model
    options = prepared.resolved.train_options
    fusion = f"ensemble {spec.ensemble}" if spec.ensemble else spec.fusion
    chosen = {"fusion": fusion or model.defaults["fusion"], "lr": options["lr"]}
    if "optimizer" in model.supported_options and not spec.optimizer:
        optimizer = options["optimizer"]
        is_name = isinstance(optimizer, str)
        chosen["optimizer"] = optimizer if is_name else type(optimizer).__name__.lower()
    return chosen
