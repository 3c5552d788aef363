"""A run whose rounds are trained by a service, `%%fusion --service URL`, with the chart and history
of any other.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from fusion_nb.core import documents
from fusion_nb.core.history import History
from fusion_nb.core.party import Party
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import DataError, ExportError, ModelError, OptionError, RunError, ServiceError
from fusion_nb.models import base as models
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec
from fusion_nb.service.client import Client
from fusion_nb.service.model_types import MODEL_FILES, WHOLE, model_type_of
from fusion_nb.service.payloads import document_lines
from fusion_nb.service.request_fields import NOT_TAKEN

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
        for option in ("loss", "optimizer"):
            if (given := getattr(spec, option)) and given in namespace:
                line = (
                    f"--{option} {given} is an object of this notebook, and a service takes "
                    "names alone"
                )
                raise OptionError(line, "use one of the framework's own names")
        if spec.ensemble:
            raise OptionError(
                "--ensemble is not for a run that a service trains", "train it in the kernel"
            )
        super().__init__(spec, namespace, name=name)
        self._model_type = model_type_of(models.framework_of(models.find(spec.model, namespace)))
        if not self._model_type:
            raise OptionError(
                f"a service takes no {self._federation.model.kind}",
                f"it takes: {', '.join(MODEL_FILES)}",
            )
        self._rows = [(party.id, party.train, party.test) for party in self._division.parties]
        for party, *both in self._rows:
            if other := next((rows for rows in both if not isinstance(rows, tuple | None)), None):
                line = f"the rows of {party} are a {type(other).__name__}, which can't be sent"
                raise DataError(line, "give arrays: (x, y)")
        if self._division.test is not None and documents.are(self._division.test):
            raise DataError(
                "a central test set of documents can't be sent",
                "give it to a party, as its test rows",
            )
        self._url = url
        with Client(url) as client:
            client.aggregators()  # whether it is there, and knows this client
        # What stands beside is trained there too, and what follows the last round; and early
        # stopping is watched there.
        self._federation.closing, self._federation.beside = None, ()
        self._early = [lambda history: "" for _ in self._early]

    def change(self, **options: Any) -> NoReturn:
        """Refuse: the service trains what was asked for at first."""
        self._refuse("change")

    def pause(self) -> NoReturn:
        """Refuse: a service does not hold its runs."""
        self._refuse("pause")

    def step(self, wait: bool = True) -> NoReturn:
        """Refuse: a service does not hold its runs."""
        self._refuse("step")

    def more(self, rounds: int = 5) -> NoReturn:
        """Refuse: the parties' data is deleted at the service when a run has ended."""
        self._refuse("more")

    def _refuse(self, what: str) -> NoReturn:
        raise RunError(
            f"{what}() is not for a run that a service trains",
            "stop() ends it; run the cell anew for more",
        )

    def _rounds(self, count: int) -> Iterator[RoundRecord]:
        """Register everything, and yield rounds as the service tells of them."""
        with Client(self._url) as client:
            aggregator_id = self._register(client)
            try:
                client.train(aggregator_id, wait=False)
                for record in self._follow(client, aggregator_id):
                    self._federation.history[record.round - 1 :] = [record]
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
        options |= {"parties": len(self._rows), "rounds": self._target}
        model = self._federation.model
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / MODEL_FILES[self._model_type]
            try:
                model.save(path, self._federation.initial, WHOLE[self._model_type])
            except ExportError as error:
                line = f"the model can't be sent: {error.message}"
                raise ModelError(line, "build it of torch.nn's classes") from None
            aggregator_id = client.start_aggregator(path, test=self._division.test, **options)
            try:
                for party, train, test in self._rows:
                    self._gate()
                    if documents.are(train):
                        sent = Path(folder) / "documents.jsonl"
                        sent.write_text(document_lines(train, test), encoding="utf-8")
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
        federation = self._federation
        seen = len(federation.history)
        try:
            client.stop(aggregator_id)
            # What is measured after the last round is in its record; and there may be one more
            # round than was heard of.
            history = list(client.rounds(aggregator_id))
            if not history:
                return
            weights, best = client.weights(aggregator_id), client.weights(aggregator_id, "best")
            if (
                not federation.model.get_weights()
            ):  # a Doc2Vec, whose parties agreed on its words there
                with tempfile.TemporaryDirectory() as folder:
                    path = client.download(
                        aggregator_id, Path(folder) / MODEL_FILES[self._model_type], "gensim"
                    )
                    kind = type(federation.model)
                    federation.model = kind.taken_up(kind.load(path))
        except ServiceError as error:
            federation.history.clear()  # no rounds without the weights that they led to
            hint = (
                f"its {seen} rounds are kept there: Client(url).weights({aggregator_id!r}) "
                "fetches what they led to"
            )
            raise ServiceError(
                error.message, hint if seen else error.hint, status=error.status
            ) from None
        federation.history[:], federation.weights, self._best_weights = history, weights, best

    def _keep(self, history: History) -> None:
        """Keep nothing: weights are taken once, when the run has ended."""

    def _personal(self, party: Party) -> Any:
        if self._spec.personal or self._spec.share:
            line = f"the model of {party.id} is at the service, which gives out no party's model"
            raise RunError(line, "train it in the kernel")
        return super()._personal(party)
