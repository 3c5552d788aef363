"""Local differential privacy: each party clips its update and adds noise before it sends it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from fusion_nb.algorithms.fusions.fusion_wrapper import broadcasts, changes_local_update
from fusion_nb.algorithms.privacy.base import PrivateFusion, PrivateRun
from fusion_nb.algorithms.privacy.clipping import check_untrained, clipped_change, gaussian
from fusion_nb.algorithms.privacy.ledger import Ledger
from fusion_nb.algorithms.privacy.noise_stream import noise_key, stream_of
from fusion_nb.core import arithmetic, seeds
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Answer, LocalContext, Update, Weights
from fusion_nb.errors import OptionError, option


class LocalPrivacy(PrivateFusion):
    """Clip each party's change, and add Gaussian noise to it at the party.

    The aggregator need not be trusted. Every update has the noise that central privacy has once, so
    that a mean over n parties is sqrt(n) times as noisy. Noise is counted against 2 * clip, the
    distance of two updates of any rows. All parties have the same share.

    Source: Kasiviswanathan, Lee, Nissim, Raskhodnikova, Smith, "What Can We Learn Privately?",
    FOCS 2008.
    """

    kind = "local"
    noise_scale = 0.5

    @classmethod
    def check_rule(cls, inner: Fusion, run: PrivateRun) -> None:
        """Raise OptionError for a rule whose parties do more than to train."""
        check_plain_half(inner, run, cls.kind)

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return the stream of the parties' noise, beside the inner rule's extras."""
        return {**super().broadcast(state), **stream_of(state)}

    def local_update(self, context: LocalContext) -> Answer:
        """Train, and send the weights with a change that is clipped and noisy."""
        trained, old = context.info.trained, context.weights
        new = context.train(old).weights
        check_untrained(new, old, trained, context.party)
        change, _ = clipped_change(new, old, trained, self._clip)
        key = noise_key(context.broadcast)
        rng = seeds.stream(context.seed, "privacy", context.round, context.party, *key)
        noise = gaussian(change, self.noise * self._clip, rng)
        noisy = {name: array + noise[name] for name, array in change.items()}
        return context.update(old | arithmetic.moved(old, noisy))

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the inner rule's weights, and the ledger with a release of each party asked."""
        received: list[str] = []

        def equal_shares() -> Iterator[Update]:
            for update in updates:
                received.append(update.party)
                yield Update(update.party, update.weights, 1)

        fused, inner = fused_by(self.inner, weights, equal_shares(), state["inner"])
        ledger, number = Ledger.of_state(state["ledger"]), state["rounds"] + 1
        for party in dict.fromkeys((*received, *self._asked(number))):
            ledger = ledger.with_event(party, 1.0, self.noise * self.noise_scale)
        return fused, {**state, "inner": inner, "ledger": ledger.to_state(), "rounds": number}

    def _asked(self, number: int) -> tuple[str, ...]:
        return self._run.cohorts.asked(number, self.requires.min_updates)

    def planned(self, ledger: Ledger, first: int, last: int, noise: float) -> Ledger:
        """Return a ledger with the releases of these rounds; with secret cohorts, one a round."""
        cohorts = self._run.cohorts
        counts = dict.fromkeys(cohorts.parties, last - first + 1)
        if cohorts.chance is None:
            counts = cohorts.counts(first, last)
        for party, count in counts.items():
            ledger = ledger.with_event(party, 1.0, noise * self.noise_scale, count)
        return ledger

    def _promise(self) -> str:
        return (
            "neighbours are any two sets of rows of one party; nobody but the party itself is "
            "trusted; counted without amplification: each party is charged for every round that it "
            "was asked in, even if its update was lost on the way, and epsilon is that of the "
            "party with the most"
        )


def check_plain_half(inner: Fusion, run: PrivateRun, kind: str) -> None:
    """Raise OptionError for a rule whose parties do more than to train from the fused weights."""
    if inner.asynchronous is not None:
        raise OptionError(
            f"{option('privacy', kind)} counts rounds in which all train from the same weights, "
            f"and {run.name} is asynchronous",
            "use a rule whose parties only train, such as fedavg, fedavgm, median or krum",
        )
    if not has_plain_half(inner):
        raise OptionError(
            f"{option('privacy', kind)} covers one update of each party in a round, and {run.name} "
            f"{inner.not_linear}",
            "use a rule whose parties only train, such as fedavg, fedavgm, median or krum",
        )


def has_plain_half(inner: Fusion) -> bool:
    """Return whether parties of a rule do no more than to train from the fused weights."""
    does_more = changes_local_update(inner) or broadcasts(inner)
    return not does_more and inner.synchronising is None and inner.asynchronous is None


def fused_by(
    rule: Fusion, weights: Weights, updates: Iterator[Update], state: Any
) -> tuple[Weights, Any]:
    """Return what a rule makes of updates; the same weights and state where there is none."""
    first = next(updates, None)
    if first is None:
        return weights, state
    return rule.aggregate(weights, itertools.chain([first], updates), state)
