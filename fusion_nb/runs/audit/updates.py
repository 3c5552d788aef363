"""The update of a few rows of one party, as each of those sees it who could attack it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_nb.algorithms.compressions.compressed import Compressed
from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.core import arithmetic
from fusion_nb.core import rows as rows_of
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.types import NoUpdate, Update, Weights
from fusion_nb.errors import RunError
from fusion_nb.runs.privacy.checks import private_rule

AGGREGATOR, EVERYONE = "the aggregator", "who sees the fused model"


@dataclass(frozen=True)
class Observed:
    """Weights before a training, and those after it as each observer knows them."""

    before: Weights
    after: Mapping[str, Weights]


def observe(federation: Federation, party: Party, rows: Sequence[int], round: int = 1) -> Observed:
    """Let a party train in round 1 on a few of its rows, as the run's options say, and observe it.

    Those who see the fused model are given all other parties' updates: the worst case. Only noise
    of the aggregator keeps them from the update then, so that they are left out where it adds none.
    round: number of a repetition, with other noise
    Raises RunError where the party can't train on so few rows.
    """
    settings, network = federation.plan.settings(1), federation.network
    info, before, fusion = network.info, network.initial_weights, federation.fusion
    if info is None or not before:
        raise RunError(
            "the parties of this run agree on words before round 1, which no audit here is about",
            "audit a run of a neural network",
        )
    if isinstance(fusion, Masks):
        raise RunError(
            "updates of single parties are masked, and the aggregator receives their sum alone",
            "audit the run without masks, for what the mask hides",
        )
    state = fusion.init(before, info)
    request = settings.request(
        round,
        before,
        fusion.broadcast(state),
        info,
        seed=federation.config.seed,
        progress=None,
    )
    lone = Party(party.id, rows_of.take(party.train, np.array(rows)))
    reply = lone.answer(request, federation.model.clone())
    if isinstance(fusion, Compressed) and isinstance(reply, Update):
        reply = fusion.decoded(before, reply, state)
    if isinstance(reply, NoUpdate) or not isinstance(reply, Update) or not reply.weights:
        why = "sends no update" if isinstance(reply, NoUpdate | Update) else reply.error
        raise RunError(
            f"{party.id} can't be audited with {len(rows)} of its rows: {why}",
            "audit with more rows: rows=4",
        )
    after = {AGGREGATOR: before | reply.weights}
    rule = private_rule(fusion)
    if rule is not None and rule.kind == "central":
        fused, _ = rule.aggregate(
            arithmetic.copy(before), iter([reply]), {**rule.init(before, info), "rounds": round - 1}
        )
        after[EVERYONE] = fused
    return Observed(before, after)
