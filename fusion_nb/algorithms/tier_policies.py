"""How TiFL chooses the tier of a round: each with the same chance, or by accuracy and credits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fusion_nb.core.protocols import SamplingContext
from fusion_nb.errors import OptionError, nearest

_POLICIES = ("uniform", "adaptive")


def checked_policy(policy: str) -> str:
    """Return a policy. Raises OptionError for one that there is not."""
    if policy in _POLICIES:
        return policy
    raise OptionError(
        f"policy={policy} is not allowed",
        f"{nearest(policy, _POLICIES)}give uniform or adaptive",
        option="sampling",
        value=policy,
        allowed=_POLICIES,
    )


def adaptive_tier(
    context: SamplingContext, tiers: Sequence[Sequence[str]], interval: int, credits: int
) -> int:
    """Return the place of the round's tier among the tiers, by TiFL's adaptive policy.

    Every `interval` rounds all tiers are measured. Where the tier chosen last is not more accurate
    than at the time before, chances change: the worse a tier is measured, the larger. A tier whose
    credits are spent is left out until all are spent; then each has all of them again.

    The rounds before are gone through again, so that it is a function of the context alone.

    Source: Chai et al., "TiFL: A Tier-based Federated Learning System", HPDC 2020 (Algorithm 2).
    """
    chances, left, current = np.full(len(tiers), 1 / len(tiers)), [credits] * len(tiers), 0
    before: list[float] = []
    for round in range(1, context.round + 1):
        if round > interval and (round - 1) % interval == 0:
            now = _measured(context, tiers, round - 1)
            if now and before and now[current] <= before[current]:
                chances = chances_of(now)
            before = now
        if credits and not any(left):
            left = [credits] * len(tiers)
        open_ones = np.array([not credits or count > 0 for count in left])
        current = _drawn(replace(context, round=round).rng, chances, open_ones)
        left[current] -= 1
    return current


def chances_of(measured: Sequence[float]) -> np.ndarray:
    """Return each tier's chance: of n tiers, the i-th from the worst has (n - i) / (n(n - 1)/2).

    >>> chances_of([0.9, 0.5, 0.7]).round(2).tolist()
    [0.0, 0.67, 0.33]
    """
    count = len(measured)
    if count == 1:
        return np.ones(1)
    places = np.empty(count)
    places[np.argsort(measured, kind="stable")] = np.arange(1, count + 1)
    chances: np.ndarray = (count - places) / (count * (count - 1) / 2)
    return chances


def _drawn(rng: np.random.Generator, chances: np.ndarray, open_ones: np.ndarray) -> int:
    """Return a tier that still has credits; without any chance among those, each has the same."""
    kept = chances * open_ones
    if not kept.sum():
        kept = open_ones.astype(float)
    return int(rng.choice(len(kept), p=kept / kept.sum()))


def _measured(context: SamplingContext, tiers: Sequence[Sequence[str]], round: int) -> list[float]:
    """Return the mean accuracy of each tier's parties after a round, or minus their loss.

    It is that of the fused model on the parties' own test rows; without those, minus the loss of
    their last training. None is returned where a tier was not measured at all.
    """
    latest: dict[str, dict[str, float]] = {}
    for record in context.history[: max(round, 0)]:
        for party, metrics in record.party_metrics.items():
            latest.setdefault(party, {}).update(metrics)
    for name, sign in (("accuracy", 1.0), ("loss", -1.0), ("train_loss", -1.0)):
        found = [_mean(latest, tier, name) for tier in tiers]
        if all(mean is not None for mean in found):
            return [sign * mean for mean in found if mean is not None]
    return []


def _mean(
    latest: Mapping[str, Mapping[str, float]], tier: Sequence[str], name: str
) -> float | None:
    values = [latest[party][name] for party in tier if name in latest.get(party, {})]
    return float(np.mean(values)) if values else None
