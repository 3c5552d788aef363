"""Samplings that look at how long parties take, on the simulated clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from fusion_nb.algorithms.tier_policies import adaptive_tier, checked_policy
from fusion_nb.core.protocols import SamplingContext

#: Constants of Oort as its paper gives them: the share of new parties at first, its factor from
#: round to round, and the least; the weight of parties that were not asked for long; and the share
#: of the best utility that is good enough.
_EXPLORED, _DECAY, _LEAST, _OLD, _CUT = 0.9, 0.98, 0.2, 0.1, 0.95


def oort(
    context: SamplingContext,
    *,
    alpha: Annotated[
        float, Field(description="how much slow parties lose; 0: nothing", ge=0)
    ] = 2.0,
    pace: Annotated[
        float, Field(description="share of the parties that are fast enough", gt=0, le=1)
    ] = 0.5,
) -> Sequence[str]:
    """Choose parties whose rows still have large losses and that are fast, and some new ones.

    A party's utility is its rows times the loss of its last training, in times of the largest, plus
    a bonus for parties that were not asked for long, times (pace / time) ** alpha where it is
    slower than the pace. Parties report their mean loss, in place of the root of the mean of
    squared losses.

    Source: Lai, Zhu, Madhyastha, Chowdhury, "Oort: Efficient Federated Learning via Guided
    Participant Selection", OSDI 2021 (Algorithm 1).
    """
    losses, rng, count = context.losses, context.rng, context.count
    known = [party for party in context.parties if party in losses]
    new = [party for party in context.parties if party not in losses]
    share = max(_LEAST, _EXPLORED * _DECAY ** (context.round - 1))
    num_new = min(len(new), max(count - len(known), round(share * count)))
    utilities = _utilities(context, known, losses, alpha, pace)
    wanted = count - num_new
    chosen: list[str] = []
    if wanted:
        least = _CUT * sorted(utilities.values(), reverse=True)[wanted - 1]
        good = [party for party in known if utilities[party] >= least]
        chances = np.array([utilities[party] + 1e-12 for party in good])
        drawn = rng.choice(len(good), wanted, replace=False, p=chances / chances.sum())
        chosen = [good[i] for i in drawn]
    # Fast parties first, as far as nothing else is known of them.
    speeds = np.array([1 / max(context.seconds.get(party, 1.0), 1e-9) for party in new])
    if num_new:
        drawn = rng.choice(len(new), num_new, replace=False, p=speeds / speeds.sum())
        chosen += [new[i] for i in drawn]
    return chosen


def tiers(
    context: SamplingContext,
    *,
    num: Annotated[int, Field(description="tiers, from the fastest to the slowest", ge=1)] = 5,
    policy: Annotated[
        str,
        Field(description="how the tier is chosen: uniform, or adaptive (by accuracy)"),
        AfterValidator(checked_policy),
    ] = "uniform",
    interval: Annotated[
        int, Field(description="adaptive: rounds between two changes of the chances", ge=1)
    ] = 10,
    credits: Annotated[
        int, Field(description="adaptive: times that a tier may be chosen; 0: no limit", ge=0)
    ] = 0,
) -> Sequence[str]:
    """Choose a tier of parties that take about as long, and a cohort in it.

    Nobody waits for a much slower party. Each tier has the same chance, so that no rows are left
    out; by the adaptive policy tiers on which the model is less accurate have a larger one. A tier
    with fewer parties than a cohort is filled up from the next slower one, or the next faster.

    Source: Chai, Ali, Zawad, Truex, Anwar, Baracaldo, Zhou, Ludwig, Yan, Cheng, "TiFL: A Tier-based
    Federated Learning System", HPDC 2020 (its uniform policy, and Algorithm 2).
    """
    seconds, rng = context.seconds, context.rng
    order = sorted(context.parties, key=lambda party: seconds.get(party, 0.0))
    parts = np.array_split(np.arange(len(order)), min(num, len(order)))
    if policy == "adaptive":
        place = adaptive_tier(context, [[order[i] for i in p] for p in parts], interval, credits)
        rng.random()  # the chances' draw, so that the cohort's is another one
    else:
        place = int(rng.integers(len(parts)))
    tier = [order[i] for i in parts[place]]
    if len(tier) < context.count:
        others = [*order[parts[place][-1] + 1 :], *order[: parts[place][0]][::-1]]
        return [*tier, *others[: context.count - len(tier)]]
    return [tier[i] for i in rng.choice(len(tier), context.count, replace=False)]


def _utilities(
    context: SamplingContext,
    known: Sequence[str],
    losses: Mapping[str, float],
    alpha: float,
    pace: float,
) -> dict[str, float]:
    """Return the utility of each party that has trained."""
    times = sorted(context.seconds.get(party, 1.0) for party in context.parties)
    limit = times[min(len(times) - 1, math.ceil(pace * len(times)) - 1)]
    last: dict[str, int] = {}
    for record in context.history:
        last |= dict.fromkeys(record.cohort, record.round)
    gains = {p: context.num_examples.get(p, 1) * max(losses[p], 0.0) for p in known}
    largest = max(gains.values(), default=0.0) or 1.0
    found = {}
    for party, gain in gains.items():
        bonus = math.sqrt(_OLD * math.log(context.round) / last.get(party, 1))
        found[party] = gain / largest + bonus
        if (time := context.seconds.get(party, 1.0)) > limit:
            found[party] *= (limit / time) ** alpha
    return found
