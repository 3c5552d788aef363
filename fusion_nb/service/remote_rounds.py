"""Rounds that a service trains, as the source of a run."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusion_nb.core import documents
from fusion_nb.core.history import History
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.types import RoundRecord, Weights
from fusion_nb.errors import (
    DataError,
    ExportError,
    ModelError,
    OptionError,
    RunError,
    ServiceError,
    option,
)
from fusion_nb.models.base import Model
from fusion_nb.runs.build import Prepared
from fusion_nb.runs.round_options import parse_roles
from fusion_nb.runs.rounds import RoundSource
from fusion_nb.service.client import Client
from fusion_nb.service.model_types import MODEL_FILES
from fusion_nb.service.payloads import document_lines
from fusion_nb.service.request_fields import NOT_TAKEN, normal_name

#: Seconds between two checks whether the run is to stop.
_POLL_SECONDS = 0.1


@dataclass
class _SentRows:
    """The rows that were sent to a service, and whether it has deleted them."""

    num_parties: int = 0
    has_test: bool = False
    is_deleted: bool = False

    def notes(self, address: str) -> list[str]:
        """Return a sentence about them, if any were sent."""
        sent = [f"of {self.num_parties} {'party' if self.num_parties == 1 else 'parties'}"]
        sent = sent if self.num_parties else []
        sent += ["of the test set"] if self.has_test else []
        if not sent:
            return []
        end = "which has deleted them" if self.is_deleted else "which holds them now"
        return [f"the rows {' and '.join(sent)} were sent to the service {address}, {end}"]


@dataclass
class _Trained:
    """The rounds that a service trained, and their weights once the run has ended."""

    history: History = field(default_factory=History)
    weights: Weights = field(default_factory=dict)
    best_weights: Weights = field(default_factory=dict)


class RemoteRounds(RoundSource):
    """Registers the parties of a run at a service, and yields the rounds that it trains there.

    url: the service's address
    Raises OptionError or DataError for a model or rows that can't be sent, and ServiceError if the
    service can't be reached.
    """

    def __init__(self, prepared: Prepared, control: RunControl, *, url: str) -> None:
        self._prepared = prepared
        self._gate = control.gate
        self._url = url
        self._model = prepared.resolved.model
        _model_file(self._model)  # raises if it can't be sent
        _check_rows(prepared)
        self._num_rounds = 0
        self._sent = _SentRows()
        self._trained = _Trained()
        with Client(url) as client:
            client.aggregators()  # raises if the service is absent, or refuses the key
            self._address = client.url
        self.line_options = {"service": self._address}
        # The service names parties in one form; here they keep the names that they have.
        self._names = {normal_name(party.id): party.id for party in prepared.resolved.data.parties}

    @property
    def notes(self) -> list[str]:
        """A sentence about the rows that were sent to the service."""
        return self._sent.notes(self._address)

    @property
    def history(self) -> History:
        """The whole rounds so far."""
        return self._trained.history

    @property
    def model(self) -> Model:
        """The adapter of the model."""
        return self._model

    @property
    def weights(self) -> Weights:
        """The fused weights once the run has ended; the initial weights before."""
        return self._trained.weights or self._prepared.federation.network.initial_weights

    @property
    def best_weights(self) -> Weights:
        """The fused weights of the best round, once the run has ended."""
        return self._trained.best_weights

    def plan(self, last: int, after: int | None = None) -> None:
        """Plan rounds up to `last`."""
        self._num_rounds = last
        self._prepared.federation.config.schedule.extend(last, after)

    def check_request(self, request: str) -> None:
        """Refuse: a service does not pause its runs, and deletes the data of one that has ended."""
        raise RunError(
            f"{request}() is not for a run that a service trains",
            "stop() ends it; run the cell again for more rounds",
        )

    def own_model(self, party: str) -> Any:
        """Return the fused model with the state that a party keeps.

        Raises RunError for a personal model, which does not leave the service.
        """
        resolved = self._prepared.resolved
        if resolved.spec.personal or resolved.spec.share:
            raise RunError(
                f"the model of {party} is at the service, which gives out no party's model",
                "train it in the kernel",
            )
        holder = next(holder for holder in resolved.data.parties if holder.id == party)
        return self._model.personal(self.weights, holder.train)

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Register all parties, train, and yield each round as soon as the service sends it."""
        with Client(self._url) as client:
            aggregator_id = self._register(client)
            try:
                client.train(aggregator_id, wait=False)
                for record in self._follow(client, aggregator_id):
                    self._trained.history[record.round - 1 :] = [record]
                    yield record
                self.reason = _reason(client.status(aggregator_id))
            finally:
                self._fetch(client, aggregator_id)

    def _register(self, client: Client) -> str:
        """Send the model and each party's rows; return the aggregator's id."""
        data = self._prepared.resolved.data
        options = self._prepared.resolved.spec.model_dump(exclude_defaults=True, exclude=NOT_TAKEN)
        options |= {"parties": len(data.parties), "rounds": self._num_rounds}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _model_file(self._model)
            self._write_model(path)
            if data.test is not None:
                self._sent.has_test = True
                self.rows_went_to = self._address
            aggregator_id = client.start_aggregator(path, test=data.test, **options)
            try:
                for party in data.parties:
                    self._gate()
                    # Said before it is sent: a failure of the call may come after its rows.
                    self._sent.num_parties += 1
                    self.rows_went_to = self._address
                    if documents.are(party.train):
                        sent = Path(folder) / "documents.jsonl"
                        sent.write_text(document_lines(party.train, party.test), encoding="utf-8")
                        client.start_party(aggregator_id, sent, "documents", party=party.id)
                    else:
                        rows = (party.train, party.test)
                        client.start_party(aggregator_id, rows, party=party.id)
            except BaseException:
                client.stop(aggregator_id)
                self._sent.is_deleted = True
                raise
        return aggregator_id

    def _write_model(self, path: Path) -> None:
        weights = self._prepared.federation.network.initial_weights
        try:
            self._model.save(path, weights, self._model.whole_format)
        except ExportError as error:
            raise ModelError(
                f"the model can't be sent: {error.message}",
                "build it of the framework's own classes",
            ) from None

    def _follow(self, client: Client, aggregator_id: str) -> Iterator[RoundRecord]:
        """Yield the rounds of a run. Raises Stopped between two of them if a stop was asked for."""
        arrived: queue.SimpleQueue[RoundRecord | BaseException | None] = queue.SimpleQueue()

        def read() -> None:
            try:
                for record in client.rounds(aggregator_id):
                    arrived.put(self._named(record))
                arrived.put(None)
            except BaseException as error:
                arrived.put(error)

        threading.Thread(target=read, name="fusion_nb rounds", daemon=True).start()
        while True:
            try:
                found = arrived.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                self._gate()
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                return
            yield found

    def _fetch(self, client: Client, aggregator_id: str) -> None:
        """End the federation at the service, and fetch all its rounds and weights.

        Without the weights the history is emptied, because it would not belong to the model.
        """
        try:
            client.stop(aggregator_id)
            self._sent.is_deleted = True
            # Post-training has added metrics to the last record, and the service may have trained
            # one round more than was followed.
            history = [self._named(record) for record in client.rounds(aggregator_id)]
            if not history:
                return
            weights = client.weights(aggregator_id)
            best_weights = client.weights(aggregator_id, "best")
            if not self._model.get_weights():
                self._model = self._fetch_model(client, aggregator_id)
        except ServiceError as error:
            num_rounds = len(self._trained.history)
            self._trained.history.clear()
            hint = error.hint
            if num_rounds:
                hint = (
                    f"its {num_rounds} rounds are kept there: "
                    f"Client(url).weights({aggregator_id!r}) fetches their weights"
                )
            raise ServiceError(error.message, hint, status=error.status) from None
        self._trained.history[:] = history
        self._trained.weights = weights
        self._trained.best_weights = best_weights

    def _named(self, record: RoundRecord) -> RoundRecord:
        """Return a record of the service with the names that parties have here."""

        def name(party: str) -> str:
            return self._names.get(party, party)

        metrics = {name(party): found for party, found in record.party_metrics.items()}
        return replace(
            record,
            party_metrics=metrics,
            cohort=tuple(map(name, record.cohort)),
            failures=tuple(
                replace(failure, party=name(failure.party)) for failure in record.failures
            ),
            silent=tuple(map(name, record.silent)),
            trips={name(party): trip for party, trip in record.trips.items()},
        )

    def _fetch_model(self, client: Client, aggregator_id: str) -> Model:
        """Return the model that the parties agreed on at the service, such as its vocabulary."""
        kind = type(self._model)
        with tempfile.TemporaryDirectory() as folder:
            path = client.download(
                aggregator_id, Path(folder) / _model_file(self._model), self._model.whole_format
            )
            return kind.from_checkpoint(kind.load(path))


def _model_file(model: Model) -> str:
    """Return the name of the file in which a model is sent. Raises OptionError if it can't be."""
    name = f"model{model.suffixes[0]}" if model.suffixes and model.whole_format else ""
    if name not in MODEL_FILES.values():
        raise OptionError(f"a service takes no {model.kind}", f"it takes: {', '.join(MODEL_FILES)}")
    return name


def _check_rows(prepared: Prepared) -> None:
    """Raise DataError for rows that can't be sent."""
    data, roles = prepared.resolved.data, parse_roles(prepared.resolved.spec.roles)
    if only_train := [party for party, role in roles.items() if role == "train"]:
        raise OptionError(
            f"{option('roles')}: the service would hold back test rows of {only_train[0]}, which "
            "only trains",
            "let it evaluate too, or train in the kernel",
            option="roles",
        )
    for party in data.parties:
        for rows in (party.train, party.test):
            if not isinstance(rows, tuple | None):
                raise DataError(
                    f"the rows of {party.id} are a {type(rows).__name__}, which can't be sent",
                    "give arrays: (x, y)",
                )
    if data.test is not None and documents.are(data.test):
        raise DataError(
            "a central test set of documents can't be sent", "give it to a party, as its test rows"
        )


def _reason(status: dict[str, Any]) -> str:
    """Return why a run ended before its last round, or "". Raises ServiceError if it failed."""
    state = status["state"]
    if state == "failed":
        raise ServiceError(status["error"], status["hint"])
    if state == "interrupted":
        raise ServiceError(
            status["reason"], "the last whole round is kept here; run the cell again"
        )
    if state == "stopped" and not status["reason"]:
        return "it was ended at the service"
    return str(status["reason"])
