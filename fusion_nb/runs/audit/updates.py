"""The update of a few rows of one party, as each of those sees it who could attack it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion_nb.algorithms.compressions.compressed import Compressed
from fusion_nb.core import arithmetic
from fusion_nb.core import rows as rows_of
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.types import NoUpdate, Update, Weights
from fusion_nb.errors import RunError
from fusion_nb.runs.audit.sums import unmasked
from fusion_nb.runs.privacy.checks import private_rule

AGGREGATOR, EVERYONE = "the aggregator", "who sees the fused model"


@dataclass(frozen=True)
class Observed:
    """Weights before a training, and those after it as each observer knows them."""

    before: Weights
    after: Mapping[str, Weights]


def observe(
    federation: Federation,
    party: Party,
    rows: Sequence[int],
    round: int = 1,
    beside: Sequence[Update] = (),
) -> Observed:
    """Let a party train in round 1 on a few of its rows, as the run's options say, and observe it.

    Those who see the fused model are given all other parties' updates: the worst case. Only noise
    of the aggregator keeps them from the update then, so that they are left out where it adds none.
    round:  number of a repetition, with other noise
    beside: updates of other parties, where the aggregator is given the sum alone
    Raises RunError where the party can't train on so few rows.
    """
    update, before = trained_on(federation, party, rows, round), federation.network.initial_weights
    seen = update.weights
    if beside:
        seen = arithmetic.weighted_mean([update, *beside], lambda one: one.num_examples)
    after = {AGGREGATOR: before | seen}
    info, rule = federation.network.info, private_rule(federation.fusion)
    if rule is not None and rule.kind == "central":
        assert info is not None
        fused, _ = rule.aggregate(
            arithmetic.copy(before),
            iter([update]),
            {**rule.init(before, info), "rounds": round - 1},
        )
        after[EVERYONE] = fused
    return Observed(before, after)


def trained_on(federation: Federation, party: Party, rows: Sequence[int], round: int = 1) -> Update:
    """Return the update of a party after it trained on a few of its rows, without any mask.

    Raises RunError where the party can't train on so few rows.
    """
    settings, network = federation.plan.settings(1), federation.network
    info, before = network.info, network.initial_weights
    if info is None or not before:
        raise RunError(
            "the parties of this run agree on words before round 1, which no audit here is about",
            "audit a run of a neural network",
        )
    settings = replace(settings, fusion=unmasked(settings.fusion))
    fusion = settings.fusion
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
    return reply
