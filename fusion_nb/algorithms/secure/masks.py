"""Secure aggregation by pairwise masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.algorithms.secure import answers, quantised, steps, summands
from fusion_nb.algorithms.secure.costs import Costs, sentence
from fusion_nb.algorithms.secure.keys import check_installed
from fusion_nb.algorithms.secure.neighbours import graph, safe_count
from fusion_nb.algorithms.secure.unmasking import sum_of
from fusion_nb.core import arithmetic
from fusion_nb.core.protocols import AskStep, Exchanging, Fusion
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    MeanUpdate,
    Metrics,
    Update,
    Weights,
)
from fusion_nb.errors import (
    ContractError,
    DivergedError,
    FusionError,
    OptionError,
    PartyError,
    option,
)

#: Bits of the numbers that are added up.
_BITS = 32
#: A note: masks change the trust that central privacy asks for.
_TRUSTED = (
    "secure: behind masks, central privacy trusts the aggregator with the sum of a round's clipped "
    "updates, to which it adds the noise, and not with single ones"
)
#: Metrics of a round -> its costs.
_TRAFFIC = {"secure_up": "up", "secure_down": "down"}


class Masks(FusionWrapper, Exchanging):
    """Let the aggregator receive the sum of the updates, and of each update only a masked one.

    Each round has four exchanges: parties train and send public keys; they share out their secrets;
    they send their changes under masks that cancel in the sum; and they reveal what is needed to
    take off the masks of those who stayed and of those who dropped out. A round in which fewer than
    the threshold stay is refused. The aggregator still learns who takes part, their numbers of rows
    and metrics, and with clip 0 the largest change in each entry of each party (with central
    privacy it does not, since its clip is the limit). In one kernel all of this runs in one
    process, whose owner can read everything: it shows arithmetic, traffic, time and drop-outs.

    Source: Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal, Seth, "Practical
    Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017 (for an aggregator that
    keeps to the protocol, without its signatures); with neighbours Bell, Bonawitz, Gascon, Lepoint,
    Raykova, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", CCS 2020.
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        threshold: Annotated[
            float,
            Field(description="share of a round's parties that must stay; over half", gt=0, le=1),
        ] = 0.7,
        bits: Annotated[int, Field(description="bits of a number before sums", ge=8, le=30)] = 22,
        clip: Annotated[
            float,
            Field(
                description="largest change of a number; 0: that of the round, which parties tell",
                ge=0,
            ),
        ] = 0.0,
        neighbours: Annotated[
            int,
            Field(
                description="parties that each shares masks with; 0: all, or of many a safe number",
                ge=0,
                multiple_of=2,
            ),
        ] = 0,
    ) -> None:
        check_installed()
        super().__init__(inner)
        self._threshold, self._bits, self._clip = threshold, bits, clip
        self._neighbours = neighbours
        self.metric_names = (*inner.metric_names, *_TRAFFIC)
        needed = max(steps.LEAST, inner.requires.min_updates)
        self.requires = replace(inner.requires, partial_updates=True, min_updates=needed)

    @property
    def most_parties(self) -> int:
        """The number of parties whose sum is sure to fit into its bits."""
        return int(2 ** (_BITS - self._bits))

    def num_neighbours(self, num_parties: int) -> int:
        """Return how many neighbours each of `num_parties` has; 0 for all others."""
        count = self._neighbours or safe_count(num_parties, self._threshold)
        return count if count < num_parties - 1 else 0

    def safe_neighbours(self, num_parties: int) -> int:
        """Return how many neighbours are safe among `num_parties`; 0 for all others."""
        return safe_count(num_parties, self._threshold)

    @property
    def exchanging(self) -> Exchanging | None:
        """Itself."""
        return self

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the inner rule's state, and the costs of the last round: none yet."""
        if bad := [name for name, array in weights.items() if array.dtype.kind not in "biuf"]:
            raise OptionError(
                f"{option('secure')} adds up real numbers, and {bad[0]!r} holds "
                f"{weights[bad[0]].dtype}",
                f"leave {option('secure')} out",
            )
        return {"inner": self.inner.init(weights, info), "costs": {}}

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return what the inner rule sends along with the weights."""
        return self.inner.broadcast(state["inner"])

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return the entries that the inner rule sends to parties."""
        return self.inner.shared_weights(weights, state["inner"])

    def notes(self, state: Any) -> Sequence[str]:
        """Return the costs of the last round, and what the inner rule tells."""
        costs, said = state["costs"], list(super().notes(state))
        if not costs:
            return said
        if self.inner.largest_change:
            said.append(_TRUSTED)
        return [*said, sentence(costs, int(costs["neighbours"]))]

    def measure(self, state: Any) -> Metrics:
        """Return a party's traffic in multiples of the weights' bytes, and what the rule adds."""
        costs = state["costs"]
        return super().measure(state) | {
            name: costs[key] for name, key in _TRAFFIC.items() if key in costs
        }

    def local_update(self, context: LocalContext) -> Answer:
        """Do the inner rule's local update, keep the numbers, and send public keys."""
        answer = self.inner.local_update(context)
        if isinstance(answer, Update):
            answer = self.inner.summand(answer, context.weights, context.info)
        if not isinstance(answer, Update) or (answer.extras and not self.inner.adds_up):
            raise ContractError(
                "secure aggregation adds up weights, and this rule's parties send more than "
                "weights, or nothing",
                f"leave {option('secure')} out",
            )
        numbers = summands.numbers_of(answer, context.weights)
        if problem := arithmetic.not_finite(answer.weights) or arithmetic.not_finite(numbers):
            raise DivergedError(
                f"the weights of {context.party} in round {context.round}: {problem}",
                f"use a smaller {option('lr')}",
            )
        sent = steps.advertise(
            context.secrets,
            numbers,
            context.round,
            context.num_examples,
            limited=self.inner.largest_change > 0,
        )
        shapes = summands.extra_shapes(numbers)
        return replace(answer, weights={}, extras={**sent, **({"more": shapes} if shapes else {})})

    def aggregate_in_steps(
        self, weights: Weights, updates: Iterator[Update], state: Any, ask: AskStep, round: int
    ) -> tuple[Weights, Any]:
        """Return the inner rule's weights for the mean of the updates, and the new state."""
        entries = self.shared_weights(weights, state)
        advertised = {update.party: update for update in updates}
        if not advertised:
            fused, inner = self.inner.aggregate(weights, iter(()), state["inner"])
            return fused, {**state, "inner": inner}
        finished: set[str] = set()
        try:
            most = self.inner.largest_change_after(state["inner"])
            update, costs = self._sum(entries, advertised, ask, round, finished, most)
        finally:
            # Those that dropped out keep no keys: without this, until they are asked again.
            if left := [party for party in advertised if party not in finished]:
                with suppress(FusionError):
                    ask("forget", steps.forget, {party: {} for party in left}, len(left))
        changes, extras = summands.split(update.weights)
        update = replace(update, weights=quantised.moved(weights, changes), extras=extras)
        fused, inner = self.inner.aggregate(weights, iter([update]), state["inner"])
        return fused, {"inner": inner, "costs": costs}

    def _sum(
        self,
        entries: Weights,
        advertised: Mapping[str, Update],
        ask: AskStep,
        round: int,
        finished: set[str],
        most: float,
    ) -> tuple[MeanUpdate, dict[str, float]]:
        """Return the mean of the parties' numbers, and the costs.

        finished: filled with the parties that did the last step;  most: the rule's own limit or 0
        """
        usable = self._usable(advertised, len(entries))
        self._need(usable, steps.LEAST, round, "train")
        shapes = summands.shapes_of(
            entries, {party: update.extras.get("more", {}) for party, update in usable.items()}
        )
        told, threshold = (
            self._told(usable, shapes, most),
            steps.threshold_of(self._threshold, len(usable)),
        )
        peers = {party: given["peers"] for party, given in told.items()}
        costs = Costs()
        costs.add(told_by={party: update.extras for party, update in usable.items()})

        shares = answers.with_shares(ask("share", steps.share, told, threshold), peers)
        self._need(shares, threshold, round, "share their secrets")
        sealed = {
            party: {"sealed": {p: shares[p]["sealed"][party] for p in peers[party] if p in shares}}
            for party in shares
        }
        count = sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())
        sent = ask("send masked changes", steps.send_masked, sealed, threshold)
        masked = answers.with_rows(sent, count)
        self._need(masked, threshold, round, "send masked changes")
        lost = [party for party in shares if party not in masked]
        stories = {party: _story(sealed[party]["sealed"], masked) for party in masked}
        revealed = answers.revealing(ask("reveal", steps.reveal, stories, threshold), peers)
        finished.update(revealed)
        self._need(revealed, threshold, round, "reveal shares")

        total = sum_of(told, round, masked, lost, revealed)
        rows = {party: usable[party].num_examples for party in masked}
        first = next(iter(told.values()))
        most = first["most_rows"]
        counted = sum(count / most for count in rows.values()) if most else float(len(rows))
        mean = quantised.means(total, shapes, first["limits"], counted, self._bits)
        costs.add(told_by=shares, told_to=told)
        costs.add(told_by=masked, told_to=sealed)
        costs.add(told_by=revealed, told_to=stories)
        size, number = arithmetic.num_bytes(entries), len(usable)
        spent = costs.of_party(size, number)
        more = {"lost": float(len(lost)), "neighbours": float(self.num_neighbours(number))}
        update = MeanUpdate("all", mean, sum(rows.values()), parties=tuple(masked))
        return update, spent | more

    def _usable(self, advertised: Mapping[str, Update], num_entries: int) -> dict[str, Update]:
        """Return the updates that have public keys, and the sizes that limits are made of."""
        found = {}
        for party, update in advertised.items():
            more = update.extras.get("more", {})
            is_form = isinstance(more, Mapping) and update.num_examples >= 0
            if is_form and answers.with_keys(update.extras, num_entries + len(more)):
                is_limited = "largest" not in update.extras
                if is_limited == (self.inner.largest_change > 0):
                    found[party] = update
        return found

    def _told(
        self, usable: Mapping[str, Update], shapes: Mapping[str, Sequence[int]], most: float
    ) -> dict[str, dict[str, Any]]:
        """Return what each party is told: its peers' keys, and what all are told alike."""
        keys = {
            party: {name: update.extras[name] for name in ("cipher_key", "mask_key")}
            for party, update in usable.items()
        }
        circle = graph([*usable], self.num_neighbours(len(usable)))
        num_peers = len(next(iter(circle.values())))
        rows = [update.num_examples for update in usable.values()]
        alike = {
            "threshold": steps.threshold_of(self._threshold, num_peers),
            "count": len(usable),
            "cohort": steps.as_array(steps.digest_of(keys)),
            "limits": self._limits(usable, shapes, most),
            "most_rows": 0 if self.inner.equal_shares else max(1, *rows),
            "bits": self._bits,
        }
        return {
            party: {"peers": {peer: keys[peer] for peer in peers}, **alike}
            for party, peers in circle.items()
        }

    def _limits(
        self, usable: Mapping[str, Update], shapes: Mapping[str, Sequence[int]], most: float
    ) -> np.ndarray:
        """Return the largest size in each entry; of extras, 1 or the one that parties tell."""
        num_extras = len(next(iter(usable.values())).extras.get("more", {}))
        num_weights = len(shapes) - num_extras
        if most:
            most = min(most, self._clip or most)
            return np.array([most] * num_weights + [1.0] * num_extras)
        limits: np.ndarray = np.max([each.extras["largest"] for each in usable.values()], axis=0)
        if self._clip:
            limits[:num_weights] = self._clip
        return limits

    @staticmethod
    def _need(found: Mapping[str, Any], least: int, round: int, what: str) -> None:
        """Raise PartyError where fewer parties answered than a sum needs."""
        if len(found) < least:
            raise PartyError(
                f"secure aggregation: round {round} is refused, since {len(found)} parties were "
                f"left to {what}, and {least} are needed",
                "use more parties in a round, fewer drop-outs, or a smaller threshold (over half)",
            )


def _story(peers: Mapping[str, Any], masked: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return which peers of a party sent a masked row, and which did not."""
    return {
        "sent": {peer: 1 for peer in peers if peer in masked},
        "lost": {peer: 1 for peer in peers if peer not in masked},
    }
