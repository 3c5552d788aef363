"""Runs whose aggregator is given sums of updates alone, by masks."""

from __future__ import annotations

from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Fusion, SamplingContext

#: A note on what masks hide, and what they do not.
HIDDEN = (
    "secure: the aggregator is given the sum of a round's updates alone, and no update of one "
    "party, unless all other parties of the round work with it"
)
NOT_HIDDEN = (
    "secure: not hidden are who takes part, numbers of rows, metrics, the fused model, and, "
    "without a clip in masks, the largest change of each party in each entry"
)


def unmasked(fusion: Fusion) -> Fusion:
    """Return the rule inside masks, or the rule itself."""
    return fusion.inner if isinstance(fusion, Masks) else fusion


def companions(federation: Federation, party: Party) -> list[Party]:
    """Return the parties whose updates are in one sum with that of a party; none without masks."""
    settings = federation.plan.settings(1)
    if not isinstance(settings.fusion, Masks):
        return []
    trains = [other for other in federation.parties if other.trains]
    ids = tuple(other.id for other in trains)
    count = SamplingContext(ids, 1, federation.config.seed, settings.fraction).count
    return [other for other in trains if other.id != party.id][: count - 1]
