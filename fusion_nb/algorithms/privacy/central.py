"""Central differential privacy: parties clip their updates, and the aggregator adds noise."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.privacy.base import (
    Budget,
    Clip,
    Delta,
    Noise,
    PrivateFusion,
    PrivateRun,
)
from fusion_nb.algorithms.privacy.clipping import check_untrained, clipped_change, gaussian
from fusion_nb.algorithms.privacy.ledger import EVERYONE, Ledger
from fusion_nb.algorithms.privacy.local import has_plain_half
from fusion_nb.algorithms.privacy.noise_stream import noise_key
from fusion_nb.core import arithmetic, seeds
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    MeanUpdate,
    Metrics,
    NoUpdate,
    Update,
    Weights,
)
from fusion_nb.errors import ContractError, OptionError, option

#: Parties of a cohort to the noise on the count of those below the clip, as the paper has it.
_COUNT_NOISE = 20


class CentralPrivacy(PrivateFusion):
    """Clip each party's change, and add Gaussian noise to their sum, once in a round.

    All parties have the same share, and the sum is divided by the expected size of a cohort, so
    that one party changes the mean by at most clip / size. The inner rule is given the noisy mean
    as one update. The aggregator clips again what it receives: a party that does not clip gains
    nothing. Behind masks it clips the mean alone, and a party that does not clip takes at most the
    share of all others; the bit that an adaptive clip counts is one more number in the masked sum.

    Source: McMahan, Ramage, Talwar, Zhang, "Learning Differentially Private Recurrent Language
    Models", ICLR 2018 (flat clipping, fixed denominator); Andrew, Thakkar, McMahan, Ramaswamy,
    "Differentially Private Learning with Adaptive Clipping", NeurIPS 2021 (adaptive).
    """

    kind = "central"
    linear = True
    equal_shares = True

    def __init__(
        self,
        inner: Fusion,
        run: PrivateRun,
        *,
        clip: Clip,
        noise: Noise,
        delta: Delta = 1e-5,
        budget: Budget = 0.0,
        adaptive: Annotated[
            bool, Field(description="let the clip follow a quantile of the parties' norms")
        ] = False,
        quantile: Annotated[
            float, Field(description="share of the norms below an adaptive clip", gt=0, lt=1)
        ] = 0.5,
        clip_lr: Annotated[float, Field(description="how fast an adaptive clip moves", gt=0)] = 0.2,
    ) -> None:
        self._adapts = Adaptive(quantile, clip_lr) if adaptive else None
        super().__init__(inner, run, clip=clip, noise=noise, delta=delta, budget=budget)
        self.largest_change = clip
        self.requires = replace(inner.requires, empty_rounds=True)
        self.sends_clip = bool(adaptive)
        if self._adapts:
            self.metric_names = (*self.metric_names, "clip")

    @classmethod
    def check_rule(cls, inner: Fusion, run: PrivateRun) -> None:
        """Raise OptionError for a rule that reads more than the mean of the updates."""
        if inner.linear:
            return
        other = f", or {option('privacy', 'local')}" if has_plain_half(inner) else ""
        raise OptionError(
            f"{option('privacy', 'central')} gives a rule the noisy mean of all updates, and "
            f"{run.name} {inner.not_linear}",
            f"use fedavg, iter_avg, fedprox, fedavgm, fedadam, fedyogi or fedadagrad{other}",
        )

    def _more_options(self) -> Mapping[str, float]:
        if self._adapts is None:
            return {}
        return {"adaptive": 1, "quantile": self._adapts.quantile, "clip_lr": self._adapts.lr}

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the inner rule's state, an empty ledger, the clip, and the trained entries."""
        trained = sorted(info.trained & {*weights})
        return {**super().init(weights, info), "clip": self._clip, "trained": trained}

    def largest_change_after(self, state: Any) -> float:
        """Return the clip of the round that follows."""
        return float(state["clip"])

    def measure(self, state: Any) -> Metrics:
        """Return epsilon, and the clip where it adapts."""
        return super().measure(state) | ({"clip": state["clip"]} if self._adapts else {})

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return the clip of the round, where it adapts, beside the inner rule's extras."""
        extras = super().broadcast(state)
        return {**extras, "clip": state["clip"]} if self._adapts else extras

    def local_update(self, context: LocalContext) -> Answer:
        """Do the inner rule's local update, and send the weights with a change that is clipped."""
        answer = self.inner.local_update(context)
        if isinstance(answer, NoUpdate) or answer.extras:
            raise ContractError(
                f"the local update of {self._run.name} sends more than weights, or nothing, which "
                "privacy can't count",
                "derive the rule without a local update of its own",
            )
        trained, old = context.info.trained, context.weights
        check_untrained(answer.weights, old, trained, context.party)
        clip = context.broadcast.get("clip", self._clip)
        change, norm = clipped_change(answer.weights, old, trained, clip)
        bit = {"is_below": float(norm <= clip)} if self._adapts else {}
        return context.update(old | arithmetic.moved(old, change), **bit)

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights that the inner rule makes of the noisy mean, and the ledger."""
        number, clip = state["rounds"] + 1, state["clip"]
        expected = self._run.cohorts.expected
        total = _zeros(weights, state["trained"])
        received: list[str] = []
        num_below = 0.0
        for update in updates:
            parties = update.parties if isinstance(update, MeanUpdate) else (update.party,)
            change, _ = clipped_change(update.weights, weights, state["trained"], clip)
            for name, array in change.items():
                total[name] += len(parties) * array
            received += parties
            share = float(np.clip(update.extras.get("is_below", 0.0), 0.0, 1.0))
            num_below += len(parties) * share
        rng = (
            np.random.default_rng(secrets.randbits(256))
            if self._run.is_secret
            else seeds.stream(self._run.cohorts.seed, "privacy", number, *noise_key(state))
        )
        drawn = gaussian(total, self._noise_on_sum * clip, rng)
        mean = {name: (array + drawn[name]) / expected for name, array in total.items()}
        private = weights | arithmetic.moved(weights, mean)
        fused, inner = self.inner.aggregate(
            weights, iter([MeanUpdate("all", private, 1, parties=())]), state["inner"]
        )
        if self._adapts:
            noise = rng.normal(0.0, self._adapts.noise(expected, self.noise))
            # A count of differences from 1/2, so that one party changes it by 1/2 at most.
            below = (num_below - len(received) / 2 + noise) / expected + 0.5
            clip = self._adapts.next(clip, below)
        ledger = self._charged(Ledger.of_state(state["ledger"]), received)
        changed = {"inner": inner, "ledger": ledger.to_state(), "rounds": number, "clip": clip}
        return fused, {**state, **changed}

    @property
    def _noise_on_sum(self) -> float:
        """The noise on the sum of the changes; more than that of both, which the count shares."""
        if self._adapts is None or not self.noise:
            return self.noise
        return self._adapts.noise_beside(self._run.cohorts.expected, self.noise)

    def _charged(self, ledger: Ledger, parties: list[str]) -> Ledger:
        chance = self._run.cohorts.chance
        if chance is not None:
            return ledger.with_event(EVERYONE, chance, self.noise)
        for party in parties:
            ledger = ledger.with_event(party, 1.0, self.noise)
        return ledger

    def planned(self, ledger: Ledger, first: int, last: int, noise: float) -> Ledger:
        """Return a ledger with the releases of these rounds."""
        cohorts = self._run.cohorts
        if cohorts.chance is not None:
            return ledger.with_event(EVERYONE, cohorts.chance, noise, last - first + 1)
        for party, count in cohorts.counts(first, last).items():
            ledger = ledger.with_event(party, 1.0, noise, count)
        return ledger

    def _promise(self) -> str:
        cohorts = self._run.cohorts
        if cohorts.chance is not None:
            counted = (
                f"amplified by Poisson sampling: each party is drawn with the chance "
                f"{cohorts.chance:g}, and nobody may learn who was (keep card.json and history.csv "
                "to yourself, which name the cohorts)"
            )
        else:
            counted = (
                "without amplification: each party is charged for every round that it took part "
                "in, and epsilon is that of the party with the most"
            )
        return (
            "neighbours are two federations, one with and one without all rows of one party (a "
            "party without rows sends no change); the aggregator is trusted with single updates, "
            f"and who sees the fused models of all rounds is not; counted {counted}"
        )


@dataclass(frozen=True)
class Adaptive:
    """A clip that follows a quantile of the norms: S = S * exp(-lr * (share below - quantile))."""

    quantile: float
    lr: float

    def next(self, clip: float, share: float) -> float:
        """Return the clip of the next round; share: of the norms that were below this one."""
        return clip * math.exp(-self.lr * (share - self.quantile))

    def noise(self, expected: float, noise: float) -> float:
        """Return the noise on the count. It leaves at most a seventh more for the changes."""
        return max(expected / _COUNT_NOISE, noise)

    def noise_beside(self, expected: float, noise: float) -> float:
        """Return the noise on the changes that, with that on the count, makes `noise` together."""
        count = 2 * self.noise(expected, noise)  # of a count that one party changes by 1/2
        return float((noise**-2 - count**-2) ** -0.5)


def _zeros(weights: Weights, trained: list[str]) -> Weights:
    return {name: np.zeros(weights[name].shape) for name in trained}
