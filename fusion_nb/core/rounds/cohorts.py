"""The cohort of a round: the parties that a sampling chose, in order, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fusion_nb.core import seeds
from fusion_nb.core.history import History
from fusion_nb.core.party import Party
from fusion_nb.core.protocols.sampling import Sampling, SamplingContext
from fusion_nb.errors import ContractError


def draw(
    sampling: Sampling,
    parties: Sequence[Party],
    history: History,
    *,
    round: int,
    seed: int,
    fraction: float,
    least: int = 1,
    seconds: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """Return the parties that train in a round, in order; none where fewer than `least` were drawn.

    seconds: how long each party would take, where time is simulated
    Raises ContractError where the sampling returns anything but ids of parties that train.
    """
    sizes = {party.id: party.num_examples for party in parties if party.trains}
    context = SamplingContext(tuple(sizes), round, seed, fraction, sizes, history, seconds or {})
    found = sampling(context)
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise ContractError(
            f"the sampling returned {type(found).__name__} in round {round}, not names of parties",
            "return a list of some of context.parties",
        )
    chosen = {*found}
    if len(chosen) < len(found):
        twice = next(party for party in found if list(found).count(party) > 1)
        raise ContractError(
            f"the sampling returned {twice!r} twice in round {round}", "return each party once"
        )
    if others := [party for party in found if party not in sizes]:
        raise ContractError(
            f"the sampling returned {others[0]!r} in round {round}, which is no party that trains",
            f"return some of: {', '.join([*sizes][:10])}",
        )
    return tuple(party for party in sizes if party in chosen) if len(chosen) >= least else ()


def order(drawn: Sequence[str], trained: Iterable[str], seed: int, round: int) -> list[str]:
    """Return all parties that train, in the order in which an asynchronous round asks them.

    First those that a synchronous round would have asked: with equal times it is that round.
    """
    rng = seeds.stream(seed, "asked", round)
    first, rest = [*drawn], [party for party in trained if party not in drawn]
    rng.shuffle(first)
    rng.shuffle(rest)
    return [*first, *rest]
