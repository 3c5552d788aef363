"""A run: a spec made into a federation, driven in the background, and asked for what it came to."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.history import History
from fusion_nb.core.party import Party
from fusion_nb.core.types import Failure, Weights
from fusion_nb.engines.progress import Progress
from fusion_nb.errors import ExportError, OptionError, RunError
from fusion_nb.reporting import charts, export
from fusion_nb.reporting.parties import Parties, PartyReport, of_kinds
from fusion_nb.reporting.result import Best, Result, Similar, Text
from fusion_nb.runs import changes
from fusion_nb.runs.build import build, divide, settled
from fusion_nb.runs.checks import absent_options
from fusion_nb.runs.driver import Driver
from fusion_nb.runs.early_stopping import Patience, Until
from fusion_nb.runs.spec import RunSpec


class Run(Driver):
    """One run of a spec, checked as far as it can be when it is made, and training once it is
    started.

    spec:      what to run;  namespace: where the names in it are looked up

    `model`, `history`, `parties`, `best`, `plot`, `summary` and `export` wait for a run that is
    under way, so that a later cell never sees half a run; while it is paused they answer for the
    last whole round. `status`, `records`, `failures`, `weights`, `write` and `result` never wait.
    """

    def __init__(
        self,
        spec: RunSpec,
        namespace: Mapping[str, Any],
        *,
        name: str = "run",
    ) -> None:
        self._spec = spec = settled(spec)
        self._division = divide(spec, namespace)
        federation = build(spec, namespace, self._division)
        self.monitor = spec.monitor or federation.model.metrics[0]
        early: list[Callable[[History], str]] = [Until(spec.until)] if spec.until else []
        early += [Patience(spec.patience, self.monitor)] if spec.patience else []
        super().__init__(federation, spec.rounds, name=name, early=early)
        has_classes = "accuracy" in federation.model.metrics
        self._label_counts = self._division.label_counts(with_test=False) if has_classes else {}
        self._best_weights = federation.weights
        self._chosen = self._choose()
        #: The spec with what was changed meanwhile.
        self._changed = spec
        self._digest: tuple[Weights, str] = ({}, "")
        self._native: tuple[Weights | None, Any] = (None, None)
        self._neighbours: tuple[int, Any] = (-1, None)

    @property
    def spec(self) -> RunSpec:
        """The options that repeat the run as it is planned now; `more` and `step` add to its
        rounds.
        """
        return self._repeating(self._target)

    @property
    def so_far(self) -> RunSpec:
        """The options that repeat the rounds that there are; of a run that was stopped, those
        before the stop.
        """
        return self._repeating(len(self.records) or self._target)

    def change(self, **options: Any) -> Run:
        """Change lr, epochs, fraction or fusion from the next round that begins on, which its
        record then tells.

        Raises OptionError for any other option, a value that is not allowed, or what doesn't go
        together.
        """
        with self._lock:
            self._changed, change = changes.change(self._changed, self._federation, options)
            self._federation.pending.append(change)
        return self

    def hear(self, listener: Callable[[Progress], None]) -> None:
        """Call `listener` for every reply of a party within a round, in the training thread."""
        self._federation.engine.listeners.append(listener)  # type: ignore[attr-defined]

    def unhear(self, listener: Callable[[Progress], None]) -> None:
        """Stop telling a listener of replies. One that was never told is fine."""
        heard: list[Callable[[Progress], None]] = self._federation.engine.listeners  # type: ignore[attr-defined]
        heard[:] = [kept for kept in heard if kept != listener]

    @property
    def weights(self) -> Weights:
        """The fused weights of the last whole round, or the first ones: named arrays, not to be
        written to.
        """
        return self._weights()

    def write(self, path: Path, format: str) -> None:
        """Write the fused model of the last whole round as one of `formats`, without a card."""
        self._federation.model.save(path, self._weights(), format)

    @property
    def shown(self) -> tuple[str, str]:
        """The two metrics of charts: the loss, and the one that people read."""
        return "loss", next(
            name for name in (*self._federation.model.metrics[::-1], "train_loss") if name != "loss"
        )

    @property
    def notes(self) -> list[str]:
        """What was inferred from the model and the data, and warnings, as sentences."""
        beside = [note for other in self._federation.beside for note in getattr(other, "notes", ())]
        return [*self._division.notes, *self._federation.model.notes, *beside]

    @property
    def formats(self) -> list[str]:
        """The formats that `export` writes this model in."""
        return list(self._federation.model.formats)

    @property
    def failures(self) -> list[Failure]:
        """Every failure of a party, with its traceback; those of a round that was given up for it
        come last.
        """
        found = [failure for record in self.records for failure in record.failures]
        found += self._federation.failed_at_close
        return found + (list(self._federation.failed) if self.error is not None else [])

    @property
    def history(self) -> History:
        """The rounds, as a list that answers by column; a copy."""
        self._settle()
        return self.records

    @property
    def model(self) -> Any:
        """The framework's own model with the fused weights of the last whole round, in evaluation
        mode.

        The same object until there are further rounds; what is done to it changes no round and no
        export.
        """
        self._settle()
        weights = self._weights()
        if self._native[0] is not weights:
            self._native = (weights, self._federation.model.native(weights))
        return self._native[1]

    @property
    def best(self) -> Best:
        """The best round by the monitored metric. Raises RunError before the first whole round."""
        self._settle()
        record = self.records.best(self.monitor)
        if record is None:
            raise RunError(f"{self.name} has no whole round yet", f"{self.name}.more() trains some")
        model = self._federation.model.native(self._best_weights)
        weights = arithmetic.copy(self._best_weights)
        return Best(record.round, self.monitor, record.metrics[self.monitor], weights, model)

    @property
    def parties(self) -> Parties:
        """Per party: rows, label counts, and its own and the fused model's metrics on its own test
        rows.
        """
        self._settle()
        return self._parties()

    def similar(self, text: str | Sequence[str], topn: int = 10) -> Similar:
        """Return the documents that parties trained on nearest to a text or its words, by tag and
        party, never by text.

        Raises RunError for a model that has no vectors of documents, or before the first whole
        round.
        """
        is_words = isinstance(text, list | tuple) and all(isinstance(word, str) for word in text)
        if not (isinstance(text, str) or is_words) or topn < 1:
            raise OptionError(
                f"similar({text!r}, topn={topn}) is not allowed", "give a text, and topn >= 1"
            )
        self._settle()
        model = self._federation.model
        if model.takes != "documents":
            raise RunError(
                f"{self.name} has a {model.kind}, which has no vectors of documents",
                "use a Doc2Vec",
            )
        if not self.records:
            raise RunError(f"{self.name} has no whole round yet", f"{self.name}.more() trains some")
        if self._neighbours[0] != len(self.records):
            self._neighbours = (
                len(self.records),
                model.neighbours(self._weights(), self._federation.parties),
            )
        return Similar(self._neighbours[1](text, topn))

    def plot(self) -> charts.Chart:
        """Return the curves of loss and accuracy per round."""
        self._settle()
        return self.result().chart()

    def summary(self) -> Text:
        """Return the run in a few lines."""
        self._settle()
        return self.result().summary()

    def export(
        self,
        path: str,
        format: str | Sequence[str] = "",
        *,
        which: str = "last",
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the fused model, a card, the history and the chart into a new folder, and return
        the files.

        format: one or several of `formats`, the first of which is the default: pt, safetensors,
                whole, torchscript, pt2, onnx for PyTorch; keras, weights, savedmodel for Keras;
                gensim, word2vec for Doc2Vec
        which:  "last" or "best" round
        Raises ExportError before anything is written where it can be known; the folder is written
        whole or not at all.
        """
        formats = [format or self.formats[0]] if isinstance(format, str) else list(format)
        if which not in ("last", "best"):
            raise ExportError(f"which={which!r} is not allowed", "use 'last' or 'best'")
        export.check_target(path, formats, self.formats, overwrite)
        self._settle()
        weights, round = self._weights(), len(self.records)
        if which == "best":
            weights, round = self.best.weights, self.best.round
        result = replace(self.result(), parties=self._parties(round))
        return export.write(
            path, result, self._federation.model, weights, round, formats, overwrite
        )

    def result(self) -> Result:
        """Return the run as one record, as it stands now."""
        history = self.records
        best = history.best(self.monitor)
        return Result(
            name=self.name,
            spec=self.spec.model_dump(
                exclude_none=True, exclude=absent_options(self._federation.model)
            ),
            chosen=self._chosen,
            cell=(self.spec if self.status in ("ready", "running") else self.so_far).to_cell(),
            status=self.status,
            reason=self.reason,
            planned=self._target,
            monitor=self.monitor,
            metrics=self.shown,
            best_round=best.round if best else 0,
            history=history,
            parties=self._parties(),
            notes=self.notes,
            initial_sha256=self._initial_sha256(),
            traceback="".join(traceback.format_exception(self.error))
            if self.error is not None
            else "",
        )

    def __repr__(self) -> str:
        return self.result().headline()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return self.result().mimebundle()

    def _repeating(self, rounds: int) -> RunSpec:
        overridden: dict[str, Any] = {} if self._early else {"until": "", "patience": 0}
        schedule = str(self._federation.schedule)
        if self._federation.model.is_scheduled and schedule != f"0+{rounds}":
            overridden["schedule"] = schedule
        if self._federation.changes:
            overridden["changes"] = changes.written(self._federation.changes)
        return self._spec.model_copy(update={"rounds": rounds, **overridden})

    def _initial_sha256(self) -> str:
        """Return the digest of the first weights, which parties may agree on as late as in round
        0.
        """
        if self._digest[0] is not self._federation.initial:
            self._digest = self._federation.initial, arithmetic.digest(self._federation.initial)
        return self._digest[1]

    def _choose(self) -> dict[str, Any]:
        """Return the options that the model chose where the spec left them open."""
        model, orders = self._federation.model, self._federation.orders
        fusion = f"ensemble {self._spec.ensemble}" if self._spec.ensemble else self._spec.fusion
        chosen = {"fusion": fusion or model.defaults["fusion"], "lr": orders["lr"]}
        if "optimizer" in model.orders and not self._spec.optimizer:
            given = orders["optimizer"]
            chosen["optimizer"] = given if isinstance(given, str) else type(given).__name__.lower()
        return chosen

    def _keep(self, history: History) -> None:
        best = history.best(self.monitor)
        if best is not None and best.round == len(history):
            self._best_weights = self._federation.weights

    def _weights(self) -> Weights:
        return self._federation.weights or self._federation.initial

    def _parties(self, round: int | None = None) -> Parties:
        """Return the parties' reports as of a round, or of the last one."""
        metrics, reports = self._federation.model.metrics, Parties()
        latest = self.records[:round].latest()
        has_whole = not getattr(self._federation.fusion, "keeps_layers", False)
        owners = {party.id: party for party in self._federation.owners or self._federation.parties}
        for party in self._federation.parties:
            found = latest.get(party.id, {})
            given = of_kinds(found, metrics) | ({} if has_whole else {"fused": {}})
            counts = self._label_counts.get(party.id, {})
            names = {self._division.class_name(label): count for label, count in counts.items()}
            own = functools.partial(self._personal, owners[party.id])
            reports.append(
                PartyReport(
                    party.id, party.num_examples, party.num_test, names, **given, _model=own
                )
            )
        return reports

    def _personal(self, party: Party) -> Any:
        own, model = party.personal(self._weights(), len(self.records)), self._federation.model
        if own is not None:
            return model.native(own)
        if self._spec.personal or self._spec.share:
            raise RunError(
                f"{party.id} has no model of its own yet", "it gets one when it has trained"
            )
        return model.personal(self._weights(), party.train)
