"""Parties that are a ClientApp of Flower: it keeps the rows, trains and evaluates by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fusion_nb.core.party import Party
from fusion_nb.core.protocols import TrainableModel
from fusion_nb.core.types import (
    EvaluateRequest,
    Metrics,
    NoUpdate,
    Reply,
    Request,
    RoundRequest,
    Weights,
)
from fusion_nb.core.types import Update as PartyUpdate
from fusion_nb.engines.flower.app_rows import AppRows
from fusion_nb.engines.flower.names import flower
from fusion_nb.errors import DataError

#: The metric that says how many rows a reply rests on.
NUM_EXAMPLES = "num-examples"
#: The entry of a party's state that holds the app's `context.state`.
_CONTEXT = "flower_context"
#: Seconds that a message may be under way; here it never travels.
_TTL = 3600.0


@dataclass
class AppParts:
    """All that one party's app is called with, beside the message.

    partition:   number of this party, from 0;  num_partitions: of all parties
    run_config:  the app's `context.run_config`
    round:       of the request that is being answered
    node_config: the app's `context.node_config`, beside these two numbers
    """

    app: Any
    partition: int
    num_partitions: int
    run_config: Mapping[str, Any]
    round: int = 0
    node_config: Mapping[str, Any] = field(default_factory=dict)

    def call(
        self, message_type: str, weights: Weights, config: Mapping[str, Any], state: bytes
    ) -> tuple[Any, bytes]:
        """Return the content of the app's reply, and the context's state after it.

        state: that of the context, or b"" before the first call
        """
        record, array = flower("ArrayRecord"), flower("Array")
        # Copies: an app may write into the arrays of its message.
        arrays = {name: array(np.array(value)) for name, value in weights.items()}
        content = flower("RecordDict")(
            {
                "arrays": record(arrays),
                "config": flower("ConfigRecord")({"server-round": self.round, **config}),
            }
        )
        context = flower("Context")(
            run_id=1,
            node_id=self.partition + 1,
            node_config={
                "partition-id": self.partition,
                "num-partitions": self.num_partitions,
                **self.node_config,
            },
            state=_unpacked(state),
            # An app reads an option here or in the message; both say the same.
            run_config={name: config.get(name, value) for name, value in self.run_config.items()},
        )
        reply = self.app(self._message(message_type, content), context)
        return _content_of(reply, message_type), _packed(context.state)

    def _message(self, message_type: str, content: Any) -> Any:
        metadata = flower("Metadata")(
            run_id=1,
            message_id=f"{message_type}-{self.round}-{self.partition}",
            src_node_id=1,
            dst_node_id=self.partition + 1,
            reply_to_message_id="",
            group_id=str(self.round),
            created_at=time.time(),
            ttl=_TTL,
            message_type=message_type,
        )
        return flower("Message")(content=content, metadata=metadata)


class ClientAppRows(AppRows):
    """Rows that an app here trains on, or those that it evaluates on."""

    def __init__(self, parts: AppParts, message_type: str) -> None:
        super().__init__(
            f"ClientApp, partition {parts.partition} of {parts.num_partitions}", parts.run_config
        )
        self.parts, self._type = parts, message_type
        self._state = b""

    def take_over(self, party_state: Mapping[str, Any]) -> None:
        """Evaluate with the context's state of the party from now on."""
        self._state = _bytes_of(party_state)

    def ask(
        self, weights: Weights, config: Mapping[str, Any], state: dict[str, Any] | None = None
    ) -> tuple[Weights, Metrics]:
        """Return the weights, and the metrics but `num-examples`, of the app's reply.

        weights: sent to the app, by name and in order
        state:   of the party, into which that of the app's context is put
        Raises DataError for a reply without `num-examples`, or with other arrays than were sent.
        """
        kept = self._state if state is None else _bytes_of(state)
        content, after = self.parts.call(self._type, weights, config, kept)
        metrics = {
            name: value
            for record in content.metric_records.values()
            for name, value in record.items()
        }
        self.num_rows = _num_examples(metrics.pop(NUM_EXAMPLES, None), self._type, metrics)
        if state is not None and (after or kept):
            state[_CONTEXT] = np.frombuffer(after, dtype=np.uint8)
        numbers = _numbers(metrics)
        if self._type != "train":
            return {}, numbers
        return _weights_of(content, weights), numbers

    def try_evaluation(self, weights: Weights, config: Mapping[str, Any]) -> Metrics:
        """Return the metrics of the app's evaluation, in a context that is thrown away."""
        return ClientAppRows(self.parts, "evaluate").ask(weights, config)[1]


class ClientAppParty(Party):
    """A party whose rows are an app's: the number of rows is what the app replied last."""

    @classmethod
    def of(cls, name: str, parts: AppParts) -> ClientAppParty:
        """Return the party of an app."""
        return cls(name, ClientAppRows(parts, "train"), ClientAppRows(parts, "evaluate"))

    def answer(self, request: Request, model: TrainableModel) -> Reply:
        """Return the reply to a request, with the number of rows that the app counted."""
        if isinstance(request, RoundRequest):
            self.train.parts.round = request.round
        if self.test is not None:
            self.test.take_over(self.state)
        reply = super().answer(request, model)
        if isinstance(request, RoundRequest) and isinstance(reply, PartyUpdate | NoUpdate):
            return replace(reply, num_examples=self.num_examples)
        if isinstance(request, EvaluateRequest) and isinstance(reply, PartyUpdate):
            return replace(reply, num_examples=self.num_test)
        return reply


def _content_of(reply: Any, message_type: str) -> Any:
    """Return the content of an app's reply. Raises DataError for anything but a message with it."""
    if not isinstance(reply, flower("Message")):
        raise DataError(
            f"the app's function for {message_type!r} returned {type(reply).__name__}",
            "end it with: return Message(content=RecordDict({...}), reply_to=message)",
        )
    if reply.has_error():
        raise DataError(
            f"the app answered {message_type!r} with the error {reply.error.reason!r}",
            "look at the app's own code",
        )
    return reply.content


def _numbers(metrics: Mapping[str, Any]) -> Metrics:
    """Return metrics one by one: `{"f1": [0.5, 0.7]}` is `{"f1_0": 0.5, "f1_1": 0.7}`."""
    found: Metrics = {}
    for name, value in metrics.items():
        if isinstance(value, list):
            found |= {f"{name}_{i}": float(part) for i, part in enumerate(value)}
        else:
            found[name] = float(value)
    return found


def _num_examples(found: Any, message_type: str, others: Mapping[str, Any]) -> int:
    """Return how many rows a reply rests on. Raises DataError where it does not say so."""
    if isinstance(found, int | float) and not isinstance(found, bool) and found >= 1:
        return int(found)
    what = (
        f"has no {NUM_EXAMPLES!r} among its metrics ({', '.join(others) or 'it has none'})"
        if found is None
        else f"says {NUM_EXAMPLES!r} is {found!r}"
    )
    raise DataError(
        f"the app's reply to {message_type!r} {what}, so nobody knows how much it counts",
        f'add "{NUM_EXAMPLES}": len(rows), at least 1, to its MetricRecord',
    )


def _weights_of(content: Any, sent: Weights) -> Weights:
    """Return a reply's arrays under the names of those that were sent: by name, or else in order.

    A floating array in another precision is brought into the one that was sent.
    """
    records = list(content.array_records.values())
    if len(records) != 1:
        raise DataError(
            f"the app's reply to 'train' has {len(records)} ArrayRecords",
            "put all arrays into one, as Flower's own strategies ask for",
        )
    arrays = {name: array.numpy() for name, array in records[0].items()}
    if arrays.keys() != sent.keys():
        if len(arrays) != len(sent):
            raise DataError(
                f"the app's reply to 'train' has {len(arrays)} arrays, and it was sent {len(sent)}",
                "send all arrays back, by their names or in their order",
            )
        arrays = dict(zip(sent, arrays.values(), strict=True))
    return {name: _like(arrays[name], sent[name]) for name in sent}


def _like(found: np.ndarray, sent: np.ndarray) -> np.ndarray:
    is_other = found.dtype != sent.dtype and found.dtype.kind == sent.dtype.kind == "f"
    return found.astype(sent.dtype) if is_other else found


def _packed(state: Any) -> bytes:
    return b"" if not state else flower("recorddict_to_proto")(state).SerializeToString()


def _unpacked(state: bytes) -> Any:
    if not state:
        return flower("RecordDict")()
    proto = flower("ProtoRecordDict").FromString(state)
    return flower("recorddict_from_proto")(proto)


def _bytes_of(party_state: Mapping[str, Any]) -> bytes:
    kept = party_state.get(_CONTEXT)
    return b"" if kept is None else np.asarray(kept, dtype=np.uint8).tobytes()
