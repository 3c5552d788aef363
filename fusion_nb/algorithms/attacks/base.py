"""Which parties are hostile, and the two bases of attacks that forge weights.

An attack forges the entries that gradients train. Counters and statistics such as BatchNorm's, the
number of rows, metrics, and the extras that a fusion has parties send stay as honest training left
them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core import seeds
from fusion_nb.core.protocols import ModelPoisoning
from fusion_nb.core.types import Reply, RoundRequest, Update, Weights
from fusion_nb.errors import OptionError, option

#: The option that every attack has.
Num = Annotated[int, Field(description="hostile parties", ge=1)]


def hostile(parties: Sequence[str], num: int, seed: int) -> tuple[str, ...]:
    """Return the hostile parties, in party order: a function of the seed alone.

    Raises OptionError where no party would be honest.
    """
    if num >= len(parties):
        raise OptionError(
            f"{option('adversary')} asks for {num} hostile parties of {len(parties)}, and one at "
            "least must be honest",
            f"use {len(parties) - 1} at most"
            if len(parties) > 1
            else f"use more {option('parties')}",
        )
    chosen = seeds.stream(seed, "hostile").choice(len(parties), num, replace=False)
    return tuple(parties[i] for i in sorted(chosen))


class IndependentPoisoning(ModelPoisoning):
    """Forges each hostile party's change from its own honest change.

    >>> class Backwards(IndependentPoisoning):
    ...     "Send half of the negated change."
    ...     def forged_change(self, change, rng):
    ...         return -change / 2
    >>> request = RoundRequest(1, {"w": np.zeros(1)}, {}, {}, seed=0, info=None)
    >>> replies = iter([Update("party 1", {"w": np.ones(1)}, 10)])
    >>> next(Backwards().forge(replies, request, ["party 1"], frozenset({"w"}))).weights
    {'w': array([-0.5])}
    """

    def __init__(self, *, num: Num = 1) -> None:
        self.num = num

    def forge(
        self,
        replies: Iterator[Reply],
        request: RoundRequest,
        hostile: Sequence[str],
        trained: frozenset[str],
    ) -> Iterator[Reply]:
        """Yield a round's replies, each as soon as it is there."""
        for reply in replies:
            if not (isinstance(reply, Update) and reply.party in hostile):
                yield reply
                continue
            rng = seeds.stream(request.seed, "forged", request.round, reply.party)
            start, own = request.weights, reply.weights
            changes = {
                name: own[name].astype(np.float64) - start[name]
                for name in _forgeable(own, trained)
            }
            forged = {
                name: start[name] + self.forged_change(change, rng)
                for name, change in changes.items()
            }
            yield _with_forged(reply, forged)

    @abstractmethod
    def forged_change(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the change of an entry that is sent in place of the honest one."""


class OmniscientPoisoning(ModelPoisoning):
    """Forges from the weights of all honest parties; all hostile parties send the same.

    It waits for all replies of a round. Where no honest party answered, hostile parties send their
    honest weights.

    >>> class Zero(OmniscientPoisoning):
    ...     "Send zeros."
    ...     def forged_weights(self, start, honest, num_hostile, names):
    ...         return {name: 0 * honest[0].weights[name] for name in names}
    >>> request = RoundRequest(1, {"w": np.zeros(1)}, {}, {}, seed=0, info=None)
    >>> replies = iter([Update(party, {"w": np.ones(1)}, 10) for party in ("a", "b")])
    >>> [r.weights["w"] for r in Zero().forge(replies, request, ["b"], frozenset({"w"}))]
    [array([1.]), array([0.])]
    """

    def __init__(self, *, num: Num = 1) -> None:
        self.num = num

    def forge(
        self,
        replies: Iterator[Reply],
        request: RoundRequest,
        hostile: Sequence[str],
        trained: frozenset[str],
    ) -> Iterator[Reply]:
        """Yield a round's replies, once all are there."""
        received = list(replies)
        updates = [reply for reply in received if isinstance(reply, Update)]
        honest = [update for update in updates if update.party not in hostile]
        forged: Weights = {}
        if honest and len(honest) < len(updates):
            names = _forgeable(honest[0].weights, trained)
            num_hostile = len(updates) - len(honest)
            forged = self.forged_weights(request.weights, honest, num_hostile, names)
        for reply in received:
            if isinstance(reply, Update) and reply.party in hostile:
                yield _with_forged(reply, forged)
            else:
                yield reply

    @abstractmethod
    def forged_weights(
        self, start: Weights, honest: Sequence[Update], num_hostile: int, names: Sequence[str]
    ) -> Weights:
        """Return the weights that are sent for the entries of these names.

        start: the weights from which the round started;  honest: the updates of honest parties
        """


def stacked(updates: Sequence[Update], name: str) -> np.ndarray:
    """Return an entry of all updates in float64, with one row for each."""
    return np.stack([update.weights[name] for update in updates]).astype(np.float64)


def _forgeable(weights: Weights, trained: frozenset[str]) -> list[str]:
    return [
        name
        for name, array in weights.items()
        if name in trained and np.issubdtype(array.dtype, np.floating)
    ]


def _with_forged(update: Update, forged: Weights) -> Update:
    """Return an update with forged entries, in the dtypes of those that they replace."""
    with np.errstate(over="ignore"):  # infinite numbers are refused later, as from any party
        cast = {
            name: np.asarray(array).astype(update.weights[name].dtype)
            for name, array in forged.items()
        }
    return replace(update, weights={**update.weights, **cast})
