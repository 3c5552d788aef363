"""Privacy of rows: each party trains by noisy gradients of single rows (DP-SGD)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fusion_nb.algorithms.privacy.base import PrivateFusion, PrivateRun
from fusion_nb.algorithms.privacy.clipping import check_untrained
from fusion_nb.algorithms.privacy.ledger import Ledger
from fusion_nb.algorithms.privacy.local import check_plain_half, fused_by
from fusion_nb.algorithms.privacy.noise_stream import stream_of
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Answer, LocalContext, Update, Weights
from fusion_nb.errors import ContractError


class RowPrivacy(PrivateFusion):
    """Train at each party by gradients that are clipped row by row, with noise in every step.

    Each row is in a step with the chance batch_size / rows of the party. Any rule may follow whose
    parties only train. Epsilon is counted for each party, by its own rows and steps; that of the
    run is the largest.

    Source: Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with
    Differential Privacy", CCS 2016.
    """

    kind = "rows"

    @classmethod
    def check_rule(cls, inner: Fusion, run: PrivateRun) -> None:
        """Raise OptionError for a rule whose parties do more than to train."""
        check_plain_half(inner, run, cls.kind)

    def added_client_options(self) -> Mapping[str, Any]:
        """Return the clip and the noise of each step."""
        return {"per_row": {"clip": self._clip, "noise": self.noise}}

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return the stream of the parties' noise, beside the inner rule's extras."""
        return {**super().broadcast(state), **stream_of(state)}

    def local_update(self, context: LocalContext) -> Answer:
        """Train with noise, and say with which chance a row was in each step, and how many."""
        per_row = self.added_client_options()["per_row"] | stream_of(context.broadcast)
        result = context.train(context.weights, per_row=per_row)
        if "per_row" not in result.extras:
            raise ContractError(
                "the model was asked to train with noise, and does not say that it did",
                'return the extras {"per_row": [chance, steps]} from fit',
            )
        check_untrained(result.weights, context.weights, context.info.trained, context.party)
        chance, steps = result.extras["per_row"]
        return context.update(result.weights, chance=chance, steps=steps)

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the inner rule's weights, and the ledger with the steps of each party."""
        ledger, number = Ledger.of_state(state["ledger"]), state["rounds"] + 1
        cohort, batches = (
            self._run.cohorts.asked(number, self.requires.min_updates),
            self._run.batches,
        )
        # An update that is lost on the way has cost as much as was planned.
        charged = {party: batches[party] for party in cohort if party in batches}

        def plain() -> Iterator[Update]:
            for update in updates:
                chance, steps = float(update.extras["chance"]), int(update.extras["steps"])
                charged[update.party] = (chance, steps)
                yield replace(update, extras={})

        fused, inner = fused_by(self.inner, weights, plain(), state["inner"])
        for party, (chance, steps) in charged.items():
            ledger = ledger.with_event(party, chance, self.noise, steps)
        changed = {"inner": inner, "ledger": ledger.to_state(), "rounds": number}
        return fused, {**state, **changed}

    def planned(self, ledger: Ledger, first: int, last: int, noise: float) -> Ledger:
        """Return a ledger with the steps of these rounds; with secret cohorts, of all parties."""
        cohorts = self._run.cohorts
        counts = dict.fromkeys(cohorts.parties, last - first + 1)
        if cohorts.chance is None:
            counts = cohorts.counts(first, last)
        for party, count in counts.items():
            chance, steps = self._run.batches[party]
            ledger = ledger.with_event(party, chance, noise, count * steps)
        return ledger

    def _promise(self) -> str:
        return (
            "neighbours are two sets of rows of one party, one with and one without one row; the "
            "aggregator and other parties are not trusted with rows; counted per party, amplified "
            "by Poisson sampling of its rows (the chance of a row is batch_size / rows), and "
            "epsilon is the largest; a party with several rows of one person protects it less"
        )
