"""Parties of a running federation whose rows are read by a ClientApp of Flower at their node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fusion_nb.core.protocols import PartyLike
from fusion_nb.core.types import (
    EvaluateRequest,
    Metrics,
    NoUpdate,
    Reply,
    Request,
    RoundRequest,
    Update,
    Weights,
)
from fusion_nb.engines.flower.app_rows import AppRows
from fusion_nb.engines.remote.session import RemoteParty, Session
from fusion_nb.errors import DataError, RunError

_PLAIN = (bool, int, float, str)


class RemoteAppRows(AppRows):
    """Rows that an app at a node reads.

    identity, run_config: as its node told them
    pack: returns what the node is told about a model with some weights
    """

    def __init__(
        self,
        party: str,
        identity: str,
        run_config: Mapping[str, Any],
        session: Session,
        pack: Callable[[Weights], dict[str, Any]],
    ) -> None:
        super().__init__(identity, run_config)
        self._party, self._session, self._pack = party, session, pack

    def ask(
        self, weights: Weights, config: Mapping[str, Any], state: dict[str, Any] | None = None
    ) -> tuple[Weights, Metrics]:
        """Raise RunError: the app is asked by requests to its node."""
        raise RunError(f"the app of {self._party} is at its node")

    def try_evaluation(self, weights: Weights, config: Mapping[str, Any]) -> Metrics:
        """Return the metrics that the app has, each as 0: its node tried it on the weights."""
        tree = self._pack(weights)
        for name, found, problem in self._session.ask(iter([(self._party, tree)])):
            if problem:
                raise RunError(f"{name}: {problem}", "agree with its owner on what it trains")
            return dict.fromkeys(map(str, found.get("metrics", ())), 0.0)
        return {}


class RemoteAppParty(RemoteParty):
    """A party whose node has an app, which reads the rows, trains and evaluates."""


def count(party: PartyLike, request: Request, reply: Reply) -> None:
    """Take over the number of rows that an app counted, in a training or an evaluation."""
    if isinstance(request, RoundRequest):
        count_training(party, reply)
    elif isinstance(request, EvaluateRequest) and isinstance(party, RemoteAppParty):
        _count(party.test, reply)


def count_training(party: PartyLike, reply: Reply) -> None:
    """Take over the number of training rows that an app counted."""
    if isinstance(party, RemoteAppParty):
        _count(party.train, reply)


def _count(rows: RemoteAppRows | None, reply: Reply) -> None:
    if rows is not None and isinstance(reply, Update | NoUpdate):
        rows.num_rows = reply.num_examples


def read_app(app: Any, party: str) -> tuple[str, dict[str, Any]]:
    """Return identity and options of an app as its node tells them, of which nothing is believed.

    Raises DataError for anything but names and plain values.
    """
    config = app.get("run_config") if isinstance(app, dict) else None
    is_plain = isinstance(config, dict) and all(
        isinstance(name, str) and isinstance(value, _PLAIN) for name, value in config.items()
    )
    if not is_plain or not isinstance(app.get("identity"), str):
        raise DataError(
            f"what {party} tells about its app can't be read",
            "use the same version of fusion_nb at all parties",
        )
    assert isinstance(config, dict)
    return app["identity"], config
