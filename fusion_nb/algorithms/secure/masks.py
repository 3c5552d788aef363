"""Secure aggregation by pairwise masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.algorithms.secure import steps
from fusion_nb.algorithms.secure.keys import check_installed
from fusion_nb.algorithms.secure.quantised import change_of, moved_by_mean
from fusion_nb.algorithms.secure.unmasking import sum_of
from fusion_nb.core import arithmetic
from fusion_nb.core.protocols import AskStep, Exchanging, Fusion
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    MeanUpdate,
    Update,
    Weights,
)
from fusion_nb.errors import ContractError, DivergedError, OptionError, PartyError, option

#: Bits of the numbers that are added up.
_BITS = 32


class Masks(FusionWrapper, Exchanging):
    """Let the aggregator receive the sum of the updates, and of each update only a masked one.

    Each round has four exchanges: parties train and send public keys; they share out their secrets;
    they send their changes under masks that cancel in the sum; and they reveal what is needed to
    take off the masks of those who stayed and of those who dropped out. A round in which fewer than
    the threshold stay is refused. The aggregator still learns who takes part, their numbers of rows
    and metrics, and with clip 0 the largest change in each entry of each party. In one kernel all
    of this runs in one process, whose owner can read everything: it shows arithmetic, traffic,
    time and drop-outs.

    Source: Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal, Seth, "Practical
    Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017 (for an aggregator that
    keeps to the protocol, without its signatures; every pair of parties has a mask).
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
    ) -> None:
        check_installed()
        super().__init__(inner)
        self._threshold, self._bits, self._clip = threshold, bits, clip
        needed = max(steps.LEAST, inner.requires.min_updates)
        self.requires = replace(inner.requires, partial_updates=True, min_updates=needed)

    @property
    def most_parties(self) -> int:
        """The number of parties whose sum is sure to fit into its bits."""
        return int(2 ** (_BITS - self._bits))

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
        if costs:
            lost = int(costs["lost"])
            gone = f"; {lost} dropped out after it had shared its secrets" if lost == 1 else ""
            gone = f"; {lost} dropped out after they had shared their secrets" if lost > 1 else gone
            said.append(
                f"secure: in the last round a party spent {costs['seconds']:.2g} s on keys and "
                f"masks, and sent {costs['up']:.2f} and received {costs['down']:.2f} times the "
                f"bytes of its weights{gone}"
            )
        return said

    def local_update(self, context: LocalContext) -> Answer:
        """Do the inner rule's local update, keep the change, and send public keys."""
        answer = self.inner.local_update(context)
        if not isinstance(answer, Update) or answer.extras:
            raise ContractError(
                "secure aggregation adds up weights, and this rule's parties send more than "
                "weights, or nothing",
                f"leave {option('secure')} out",
            )
        if problem := arithmetic.not_finite(answer.weights):
            raise DivergedError(
                f"the weights of {context.party} in round {context.round}: {problem}",
                f"use a smaller {option('lr')}",
            )
        change = change_of(answer.weights, context.weights)
        sent = steps.advertise(context.state, change, context.round, context.num_examples)
        return replace(answer, weights={}, extras=sent)

    def aggregate_in_steps(
        self, weights: Weights, updates: Iterator[Update], state: Any, ask: AskStep, round: int
    ) -> tuple[Weights, Any]:
        """Return the inner rule's weights for the mean of the updates, and the new state."""
        advertised = {update.party: update for update in updates}
        if not advertised:
            fused, inner = self.inner.aggregate(weights, iter(()), state["inner"])
            return fused, {**state, "inner": inner}
        threshold = steps.threshold_of(self._threshold, len(advertised))
        self._need(advertised, steps.LEAST, round, "train")
        entries = self.shared_weights(weights, state)
        told = self._told(advertised, threshold, len(entries))
        costs = _Costs()
        costs.add(told_by={party: update.extras for party, update in advertised.items()})

        shares = ask("share", steps.share, dict.fromkeys(advertised, told), threshold)
        self._need(shares, threshold, round, "share their secrets")
        sealed = {
            party: {"sealed": {peer: shares[peer]["sealed"][party] for peer in shares}}
            for party in shares
        }
        masked = ask("send masked changes", steps.send_masked, sealed, threshold)
        self._need(masked, threshold, round, "send masked changes")
        lost = [party for party in shares if party not in masked]
        parties = {"sent": dict.fromkeys(masked, 1), "lost": dict.fromkeys(lost, 1)}
        revealed = ask("reveal", steps.reveal, dict.fromkeys(masked, parties), threshold)
        self._need(revealed, threshold, round, "reveal shares")

        total = sum_of(told, round, masked, lost, revealed)
        rows = {party: advertised[party].num_examples for party in masked}
        most = told["most_rows"]
        counted = sum(count / most for count in rows.values()) if most else float(len(rows))
        limits = dict(zip(entries, map(float, told["limits"]), strict=True))
        mean = moved_by_mean(weights, total, limits, counted, self._bits)
        update = MeanUpdate("all", mean, sum(rows.values()), parties=tuple(masked))
        fused, inner = self.inner.aggregate(weights, iter([update]), state["inner"])
        costs.add(told_by=shares, told_to=dict.fromkeys(advertised, told))
        costs.add(told_by=masked, told_to=sealed)
        costs.add(told_by=revealed, told_to=dict.fromkeys(masked, parties))
        size, count = arithmetic.num_bytes(entries), len(advertised)
        return fused, {"inner": inner, "costs": costs.of_party(size, count, len(lost))}

    def _told(self, advertised: Mapping[str, Update], threshold: int, num: int) -> dict[str, Any]:
        """Return all that the parties of a round are told alike."""
        found = [update.extras["largest"] for update in advertised.values()]
        limits = np.full(num, self._clip) if self._clip else np.max(found, axis=0)
        rows = [update.num_examples for update in advertised.values()]
        return {
            "peers": {
                party: {name: update.extras[name] for name in ("cipher_key", "mask_key")}
                for party, update in advertised.items()
            },
            "threshold": threshold,
            "limits": limits,
            "most_rows": 0 if self.inner.equal_shares else max(1, *rows),
            "bits": self._bits,
        }

    @staticmethod
    def _need(answers: Mapping[str, Any], least: int, round: int, what: str) -> None:
        """Raise PartyError where fewer parties answered than a sum needs."""
        if len(answers) < least:
            raise PartyError(
                f"secure aggregation: round {round} is refused, since {len(answers)} parties were "
                f"left to {what}, and {least} are needed",
                "use more parties in a round, fewer drop-outs, or a smaller threshold (over half)",
            )


class _Costs:
    """The seconds and bytes of a round, summed over its parties."""

    def __init__(self) -> None:
        self._seconds, self._up, self._down = 0.0, 0, 0

    def add(
        self,
        *,
        told_by: Mapping[str, Mapping[str, Any]],
        told_to: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Add an exchange: what parties told, and what they were told before."""
        self._seconds += sum(float(answer["seconds"]) for answer in told_by.values())
        self._up += sum(map(arithmetic.num_bytes, told_by.values()))
        self._down += sum(map(arithmetic.num_bytes, (told_to or {}).values()))

    def of_party(self, size: int, count: int, lost: int) -> dict[str, float]:
        """Return the means over parties, traffic as multiples of the weights' bytes."""
        return {
            "seconds": self._seconds / count,
            "up": self._up / count / max(1, size),
            "down": 1 + self._down / count / max(1, size),
            "lost": float(lost),
        }
