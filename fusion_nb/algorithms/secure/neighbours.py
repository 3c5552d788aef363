"""The parties that each party of a round shares masks and secrets with: all, or some neighbours."""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Sequence

from fusion_nb.algorithms.secure.steps import threshold_of

#: Parties up to which every pair has a mask, unless neighbours are asked for.
MOST_COMPLETE = 30
#: The share of parties that may work together with the aggregator.
_CORRUPT = 0.2
#: Logarithms to base 2 of the chances that a secret is open, and that a round is refused.
_SECRET, _REFUSED = -40.0, -10.0


def graph(parties: Sequence[str], count: int) -> dict[str, list[str]]:
    """Return each party's peers in the order of `parties`, itself among them.

    count: neighbours of each, an even number; all pairs are neighbours where it is 0 or too many
    The parties sit in a circle in a random order, each beside half of its neighbours on both sides.

    >>> {len(peers) for peers in graph([f"party {i}" for i in range(50)], 10).values()}
    {11}
    """
    if not count or count >= len(parties) - 1:
        return {party: [*parties] for party in parties}
    circle = [*parties]
    secrets.SystemRandom().shuffle(circle)
    place = {party: i for i, party in enumerate(parties)}
    found = {}
    for i, party in enumerate(circle):
        near = [circle[(i + step) % len(circle)] for step in range(-(count // 2), count // 2 + 1)]
        found[party] = sorted(near, key=place.__getitem__)
    return {party: found[party] for party in parties}


@functools.lru_cache(maxsize=64)
def safe_count(num_parties: int, share: float) -> int:
    """Return how many neighbours suffice in a round, or 0 for all.

    share: of a party's peers that must stay
    With that number, and a fifth of the parties working together with the aggregator, the chance
    that a secret is open is below 2^-40; and with a third of the drop-outs that the share allows,
    the chance that a round is refused is below 2^-10.

    Source: Bell, Bonawitz, Gascon, Lepoint, Raykova, "Secure Single-Server Aggregation with
    (Poly)Logarithmic Overhead", CCS 2020 (section 3, with exact tails in place of bounds).

    >>> safe_count(20, 0.7), 30 < safe_count(1000, 0.7) < 150
    (0, True)
    """
    if num_parties <= MOST_COMPLETE:
        return 0
    for count in range(4, num_parties - 1, 2):
        if _is_safe(num_parties, count, share):
            return count
    return 0


def _is_safe(num_parties: int, count: int, share: float) -> bool:
    """Return whether `count` neighbours keep secrets closed and let sums be read."""
    needed, every = threshold_of(share, count + 1), math.log2(num_parties)
    gone = (1 - share) / 3
    # Masks of a set of parties stay in its sum unless all neighbours at both of its ends are bad.
    apart = every + count / 2 * math.log2(_CORRUPT + gone)
    others, corrupt = num_parties - 1, math.ceil(_CORRUPT * num_parties)
    opened = every + _log_tail(others, corrupt, count, needed)
    lost = math.ceil(gone * num_parties)
    refused = every + _log_tail(others, lost, count, count + 1 - needed + 1)
    return apart <= _SECRET and opened <= _SECRET and refused <= _REFUSED


def _log_tail(total: int, marked: int, drawn: int, least: int) -> float:
    """Return log2 of the chance that `least` or more of those drawn from a total are marked."""
    ways = sum(
        math.comb(marked, k) * math.comb(total - marked, drawn - k)
        for k in range(least, min(marked, drawn) + 1)
    )
    return math.log2(ways) - math.log2(math.comb(total, drawn)) if ways else -math.inf
