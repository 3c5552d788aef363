"""A rule whose parties send encoded changes in place of weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fusion_nb.algorithms.compressions.link import receive, send
from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.core import arithmetic, seeds
from fusion_nb.core.protocols import Compression, Fusion
from fusion_nb.core.types import Answer, FederationInfo, LocalContext, Update, Weights

#: The name of the message among the extras of an update, and of the sender's memory in a state.
MESSAGE = "compressed"
#: The name under which the number of the encoding's stream travels down.
NUMBER = "compression"


class Compressed(FusionWrapper):
    """Makes a rule's parties send the encoded change of the trained entries.

    Statistics, counters and frozen entries travel as they are, and so do the extras of the inner
    rule. A party keeps the part of its change that was not sent (error feedback), and adds it to
    its next change. With `compression.down` the aggregator does the same with the change that the
    inner rule makes: the fused model moves by what parties receive. A party that missed rounds then
    receives the messages of these rounds, or the whole model where that is shorter.

    seed: of the run, for the random streams of encodings

    >>> from fusion_nb.algorithms.compressions.fp16 import FP16
    >>> from fusion_nb.algorithms.fusions.averaging import fedavg
    >>> start = {"w": np.zeros(2, np.float32)}
    >>> rule, info = Compressed(fedavg(), FP16(), seed=0), FederationInfo(1, ("w",), frozenset("w"))
    >>> rule.bytes_up(start, rule.init(start, info))
    4
    """

    def __init__(self, inner: Fusion, compression: Compression, *, seed: int) -> None:
        super().__init__(inner)
        self.compression, self._seed = compression, seed
        self.requires = replace(inner.requires, partial_updates=True)

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the inner rule's state, and that of the messages down: none was sent yet.

        sizes: bytes of the message down of each round;  seen: party -> rounds that it knows
        """
        inner = self.inner.init(weights, info)
        trained = sorted(info.trained)
        return {"inner": inner, "trained": trained, "down": {}, "sizes": [], "seen": {}}

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return the inner rule's extras, and the number of the round's random stream."""
        return {**self.inner.broadcast(state["inner"]), NUMBER: len(state["sizes"])}

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return the entries that the inner rule sends to parties."""
        return self.inner.shared_weights(weights, state["inner"])

    def bytes_down(self, weights: Weights, state: Any, cohort: Sequence[str]) -> int:
        """Return the bytes of the weights, or of the messages that their changes are."""
        extras = arithmetic.num_bytes(self.inner.broadcast(state["inner"]))
        whole = arithmetic.num_bytes(self.shared_weights(weights, state))
        sizes: list[int] = state["sizes"]
        total = extras * len(cohort)
        for party in cohort:
            known = state["seen"].get(party)
            is_whole = known is None or not self.compression.down
            total += whole if is_whole else min(whole, sum(sizes[known:]))
        return total

    def bytes_up(self, weights: Weights, state: Any) -> int:
        """Return the bytes of an update, without the extras of the inner rule."""
        shared = self.shared_weights(weights, state)
        sent, plain = _divided(shared, state["trained"])
        rng = self._stream("size")
        example = {name: rng.standard_normal(array.shape) for name, array in sent.items()}
        message, _, _ = send(self.compression, example, {}, self._streams("size"))
        return len(message) + arithmetic.num_bytes(plain)

    def local_update(self, context: LocalContext) -> Answer:
        """Return the inner rule's answer, with the encoded change in place of the weights."""
        answer = self.inner.local_update(context)
        # The aggregator refuses weights that are not finite, with the reason.
        if not isinstance(answer, Update) or arithmetic.not_finite(answer.weights):
            return answer
        sent, plain = _divided(answer.weights, context.info.trained)
        change = {name: array - _wide(context.weights[name]) for name, array in sent.items()}
        message, _, kept = send(
            self.compression,
            change,
            context.state.get(MESSAGE, {}),
            self._streams(context.broadcast[NUMBER], context.party),
        )
        if kept:
            context.state[MESSAGE] = kept
        return replace(answer, weights=plain, extras={**answer.extras, MESSAGE: message})

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the inner rule's weights for the decoded updates."""
        number, answered = len(state["sizes"]), list[str]()
        base, _ = _divided(self.shared_weights(weights, state), state["trained"])

        def decoded() -> Iterator[Update]:
            for update in updates:
                answered.append(update.party)
                yield self._decoded(update, base, number)

        passing = decoded()
        fused, inner = self.inner.aggregate(arithmetic.copy(weights), passing, state["inner"])
        for _ in passing:  # those that the inner rule left unread
            pass
        fused, down, size = self._sent_down(weights, fused, state, inner)
        seen = state["seen"]
        if self.compression.down:
            seen = {**seen, **dict.fromkeys(answered, number)}
        new = {"inner": inner, "down": down, "sizes": [*state["sizes"], size], "seen": seen}
        return fused, {**state, **new}

    def decoded(self, weights: Weights, update: Update, state: Any) -> Update:
        """Return an update as the aggregator decodes it, with whole weights."""
        base, _ = _divided(self.shared_weights(weights, state), state["trained"])
        return self._decoded(update, base, len(state["sizes"]))

    def _decoded(self, update: Update, base: Weights, number: int) -> Update:
        """Return an update with whole weights: those before the round, moved by its change."""
        extras = dict(update.extras)
        change = receive(
            self.compression, extras.pop(MESSAGE), base, self._streams(number, update.party)
        )
        found = {
            name: (_wide(base[name]) + step).astype(base[name].dtype)
            for name, step in change.items()
        }
        return replace(update, weights={**update.weights, **found}, extras=extras)

    def _sent_down(
        self, old: Weights, new: Weights, state: Any, inner: Any
    ) -> tuple[Weights, Any, int]:
        """Return the weights that parties have after the message down, the sender's memory, and the
        bytes of the message.
        """
        if not self.compression.down:
            return new, state["down"], 0
        shared = self.inner.shared_weights(new, inner)
        moved, plain = _divided(shared, state["trained"])
        change = {name: array - _wide(old[name]) for name, array in moved.items()}
        streams = self._streams("down", len(state["sizes"]))
        message, decoded, kept = send(self.compression, change, state["down"], streams)
        found = {
            name: (_wide(old[name]) + step).astype(old[name].dtype)
            for name, step in decoded.items()
        }
        return {**new, **found}, kept, len(message) + arithmetic.num_bytes(plain)

    def _streams(self, *key: str | int) -> tuple[np.random.Generator, np.random.Generator]:
        """Return two random streams in one state: for encoding and for decoding."""
        return self._stream(*key), self._stream(*key)

    def _stream(self, *key: str | int) -> np.random.Generator:
        return seeds.stream(self._seed, "compress", *key)


def _divided(weights: Weights, trained: Collection[str]) -> tuple[Weights, Weights]:
    """Return the entries whose changes are encoded, and the others."""
    names = frozenset(trained)
    sent = {
        name: array
        for name, array in weights.items()
        if name in names and np.issubdtype(array.dtype, np.floating)
    }
    return sent, {name: array for name, array in weights.items() if name not in sent}


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)
