"""A run whose rounds are trained by a service, `%%fusion --service URL`, with the chart and history
of any other.
"""

from __future__ import annotations

import functools
import json
import queue
import tempfile
import threading
from collections.abc import Iterator, Mapping
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
from fusion_nb.models import lookup
from fusion_nb.runs.build import Prepared
from fusion_nb.runs.rounds import RoundSource
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec
from fusion_nb.service.client import Client
from fusion_nb.service.request_fields import MODELS, NOT_TAKEN, TYPES, WHOLE

#: Seconds between two looks at whether the run is to stop.
_LOOK = 0.1


class RemoteRun(Run):
    """A run of a spec on a service: the parties' rows are sent there, trained on, and deleted when
    it has ended.

    Everything is checked here first, as for any run. The same spec gives the same curve as in the
    kernel.
    url: the service's address, with credentials, or with those in `~/.netrc`
    Raises OptionError for an object of the notebook that can't be sent, and ServiceError where
    there is no service.
    """

    def __init__(
        self, spec: RunSpec, namespace: Mapping[str, Any], *, url: str, name: str = "run"
    ) -> None:
        for word in ("loss", "optimizer"):
            if (given := getattr(spec, word)) and given in namespace:
                line = (
                    f"{option(word, given)} is an object of this notebook, and a service takes "
                    "names alone"
                )
                raise OptionError(line, "use one of the framework's own names")
        if spec.ensemble:
            raise OptionError(
                f"{option('ensemble')} is not for a run that a service trains",
                "train it in the kernel",
            )
        framework = lookup.framework_of(lookup.find(spec.model, namespace))
        super().__init__(
            spec,
            namespace,
            name=name,
            trained_by=functools.partial(RemoteRounds, framework=framework, url=url),
        )


class RemoteRounds(RoundSource):
    """The rounds of a run that a service trains."""

    def __init__(
        self, prepared: Prepared, control: RunControl, *, framework: str, url: str
    ) -> None:
        self._prepared, self._gate, self._url = prepared, control.gate, url
        self._model: Any = prepared.federation.model
        self._spec, data = prepared.resolved.spec, prepared.resolved.data
        self._num_rounds = 0
        self._history = History()
        self._weights: Weights = {}
        self._best_weights: Weights = {}
        self._model_type = TYPES.get(framework, "")
        if not self._model_type:
            raise OptionError(
                f"a service takes no {self._model.kind}", f"it takes: {', '.join(MODELS)}"
            )
        self._rows = [(party.id, party.train, party.test) for party in data.parties]
        for party, *both in self._rows:
            if other := next((rows for rows in both if not isinstance(rows, tuple | None)), None):
                line = f"the rows of {party} are a {type(other).__name__}, which can't be sent"
                raise DataError(line, "give arrays: (x, y)")
        self._test = data.test
        if self._test is not None and documents.are(self._test):
            raise DataError(
                "a central test set of documents can't be sent",
                "give it to a party, as its test rows",
            )
        with Client(url) as client:
            client.aggregators()  # whether it is there, and knows this client

    @property
    def history(self) -> History:
        """The whole rounds so far."""
        return self._history

    @property
    def model(self) -> Any:
        """The adapter of the model."""
        return self._model

    @property
    def weights(self) -> Weights:
        """The fused weights, once the run has ended; the first ones before."""
        return self._weights or self._prepared.federation.initial_weights

    @property
    def best_weights(self) -> Weights:
        """The fused weights of the best round."""
        return self._best_weights

    def plan(self, last: int, after: int | None = None) -> None:
        """Plan rounds up to `last`."""
        self._num_rounds = last
        self._prepared.federation.config.schedule.extend(last, after)

    def check_request(self, request: str) -> None:
        """Refuse: a service does not hold its runs, and deletes the data of one that has ended."""
        raise RunError(
            f"{request}() is not for a run that a service trains",
            "stop() ends it; run the cell anew for more",
        )

    def own_model(self, party: str) -> Any:
        """Return a party's own model, where it is the fused one with what the party keeps."""
        if self._spec.personal or self._spec.share:
            line = f"the model of {party} is at the service, which gives out no party's model"
            raise RunError(line, "train it in the kernel")
        train = next(train for name, train, _ in self._rows if name == party)
        return self.model.personal(self.weights, train)

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Register everything, and yield rounds as the service tells of them."""
        with Client(self._url) as client:
            aggregator_id = self._register(client)
            try:
                client.train(aggregator_id, wait=False)
                for record in self._follow(client, aggregator_id):
                    self._history[record.round - 1 :] = [record]
                    yield record
                status = client.status(aggregator_id)
                if status["state"] == "failed":
                    raise ServiceError(status["error"], status["hint"])
                if status["state"] == "interrupted":
                    raise ServiceError(
                        status["reason"], "the last whole round is kept here; run the cell anew"
                    )
                ended = "it was ended at the service" if status["state"] == "stopped" else ""
                self.reason = status["reason"] or ended
            finally:
                self._take(client, aggregator_id)

    def _register(self, client: Client) -> str:
        """Send the model and each party's rows; return the aggregator's id."""
        options = self._spec.model_dump(exclude_defaults=True, exclude=NOT_TAKEN)
        options |= {"parties": len(self._rows), "rounds": self._num_rounds}
        model = self._model
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / MODELS[self._model_type]
            try:
                model.save(path, self._prepared.federation.initial_weights, WHOLE[self._model_type])
            except ExportError as error:
                line = f"the model can't be sent: {error.message}"
                raise ModelError(line, "build it of torch.nn's classes") from None
            aggregator_id = client.start_aggregator(path, test=self._test, **options)
            try:
                for party, train, test in self._rows:
                    self._gate()
                    if documents.are(train):
                        sent = Path(folder) / "documents.jsonl"
                        sent.write_text(_lines(train, test), encoding="utf-8")
                        client.start_party(aggregator_id, sent, "documents", party=party)
                    else:
                        client.start_party(aggregator_id, (train, test), party=party)
            except BaseException:
                client.stop(aggregator_id)
                raise
        return aggregator_id

    def _follow(self, client: Client, aggregator_id: str) -> Iterator[RoundRecord]:
        """Yield rounds as they come, and leave by Stopped between two of them when a stop was asked
        for.
        """
        came: queue.SimpleQueue[RoundRecord | BaseException | None] = queue.SimpleQueue()

        def read() -> None:
            try:
                for record in client.rounds(aggregator_id):
                    came.put(record)
                came.put(None)
            except BaseException as error:
                came.put(error)

        threading.Thread(target=read, name="fusion_nb rounds", daemon=True).start()
        while True:
            try:
                found = came.get(timeout=_LOOK)
            except queue.Empty:
                self._gate()
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                return
            yield found

    def _take(self, client: Client, aggregator_id: str) -> None:
        """End the federation at the service, and take what came of it: all rounds, and the
        weights.
        """
        seen = len(self._history)
        try:
            client.stop(aggregator_id)
            # What is measured after the last round is in its record; and there may be one more
            # round than was heard of.
            history = list(client.rounds(aggregator_id))
            if not history:
                return
            weights, best = client.weights(aggregator_id), client.weights(aggregator_id, "best")
            if not self._model.get_weights():  # a Doc2Vec, whose parties agreed on its words there
                with tempfile.TemporaryDirectory() as folder:
                    path = client.download(
                        aggregator_id, Path(folder) / MODELS[self._model_type], "gensim"
                    )
                    kind = type(self._model)
                    self._model = kind.from_checkpoint(kind.load(path))
        except ServiceError as error:
            self._history.clear()  # no rounds without the weights that they led to
            hint = (
                f"its {seen} rounds are kept there: Client(url).weights({aggregator_id!r}) "
                "fetches what they led to"
            )
            raise ServiceError(
                error.message, hint if seen else error.hint, status=error.status
            ) from None
        self._history[:], self._weights, self._best_weights = history, weights, best


def _lines(train: Any, test: Any) -> str:
    """Return documents as the handler `documents` reads them, one a line."""
    lines = []
    for split, rows in (("train", train), ("test", test)):
        if rows is None:
            continue
        labels = [None] * len(rows[0]) if documents.are_unlabelled(rows[1]) else rows[1].tolist()
        for document, label in zip(rows[0], labels, strict=True):
            line = {
                "words": list(document.words),
                "tags": list(document.tags),
                "label": label,
                "split": split,
            }
            lines.append(json.dumps(line) + "\n")
    return "".join(lines)
