"""Simulated faults around any engine: parties that drop out, are slow, or are hostile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion_nb.core import registry, seeds
from fusion_nb.core.arithmetic import round_half_up
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import DataPoisoning, Engine, EngineWrapper, ModelPoisoning
from fusion_nb.core.types import Failure, Reply, Request, RoundRequest, StepRequest
from fusion_nb.errors import OptionError, option


@dataclass(frozen=True)
class Stragglers:
    """A share of each cohort that does fewer epochs than the others.

    epochs: how many, or None for a number that is drawn for each party and round

    >>> Stragglers.parse("0.2:epochs=1")
    Stragglers(share=0.2, epochs=1)
    """

    share: float
    epochs: int | None = None

    @classmethod
    def parse(cls, text: str) -> Stragglers:
        """Return what text such as `0.2:epochs=uniform` stands for. Raises OptionError."""
        share, options = registry.parse(text)
        epochs = options.pop("epochs", options.pop("", "uniform"))
        try:
            made = cls(float(share), None if epochs == "uniform" else int(epochs))
        except ValueError:
            made = cls(-1)
        if options or not 0 < made.share <= 1 or (made.epochs is not None and made.epochs < 1):
            hint = (
                "write share:epochs, such as 0.2:epochs=uniform or 0.2:epochs=1; the share is "
                "> 0 and <= 1"
            )
            raise OptionError(f"{option('straggler', text)} is not allowed", hint)
        return made

    def check(self, most: int, work: str) -> None:
        """Raise OptionError where no work is less than that of the other parties.

        most: that work;  work: the option that it is given by, epochs or local_steps
        """
        if (self.epochs or 1) >= most:
            line = (
                f"{option('straggler')} asks for less work than {option(work, most)}, and there "
                "is none"
            )
            raise OptionError(line, f"use a larger {option(work)}, or fewer epochs for stragglers")

    def among(self, cohort: Sequence[str], most: int, seed: int, round: int) -> dict[str, int]:
        """Return the stragglers of a round with the work of each: a function of seed and round."""
        rng = seeds.stream(seed, "straggler", round)
        slow = rng.choice(len(cohort), round_half_up(self.share * len(cohort)), replace=False)
        return {cohort[i]: self.epochs or int(rng.integers(1, max(2, most))) for i in sorted(slow)}


@dataclass(frozen=True)
class SimulatedFaults:
    """The faults of a run: what hostile parties do, and the parties that do less work."""

    attack: DataPoisoning | ModelPoisoning | None = None
    stragglers: Stragglers | None = None


class FaultyEngine(EngineWrapper):
    """Simulates faults as a function of seed and round.

    dropout:           chance that a party fails in a round
    stragglers:        who does less work
    uses_partial_work: whether the work of stragglers counts, or they fail
    attack, hostile:   what forges the replies of a round, and the parties that it does it for
    min_updates:       parties of each cohort that are spared. Faults are fixed by seed and round,
                       so that a round with fewer would fail whenever it is tried again.
    """

    def __init__(
        self,
        inner: Engine,
        *,
        seed: int,
        dropout: float = 0.0,
        stragglers: Stragglers | None = None,
        uses_partial_work: bool = False,
        attack: ModelPoisoning | None = None,
        hostile: Sequence[str] = (),
        min_updates: int = 1,
    ) -> None:
        super().__init__(inner)
        self._seed, self._dropout, self._min_updates = seed, dropout, min_updates
        self._stragglers, self._uses_partial_work = stragglers, uses_partial_work
        self._attack, self._hostile = attack, hostile

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort; in a round, some of them fail."""
        if isinstance(request, RoundRequest) and request.round:
            return self._round(request, cohort)
        if isinstance(request, StepRequest) and self._dropout:
            return self._step(request, cohort)
        return super().run(request, cohort)

    def _round(self, request: RoundRequest, cohort: Sequence[str]) -> Iterator[Reply]:
        lost, slow = self._faults(request, cohort)
        asked = [party for party in cohort if party not in lost]
        replies = self.inner.run(replace(request, party_options=slow), asked)
        if self._attack is not None:
            trained = request.info.trained
            replies = self._attack.forge(replies, request, self._hostile, trained)
        for party in cohort:
            yield Failure(party, lost[party]) if party in lost else next(replies)

    def _step(self, request: StepRequest, cohort: Sequence[str]) -> Iterator[Reply]:
        """Lose parties in a further step of a round, each with the chance of the round itself."""
        chance = {
            party: seeds.stream(self._seed, "dropout", request.round, party, request.name).random()
            for party in cohort
        }
        lost = sorted(party for party in cohort if chance[party] < self._dropout)
        num_spared = max(0, request.least - len(cohort) + len(lost))
        lost = sorted(lost, key=lambda party: -chance[party])[num_spared:]
        replies = self.inner.run(request, [party for party in cohort if party not in lost])
        line = f"dropped out at the step {request.name!r} (simulated)"
        for party in cohort:
            yield Failure(party, line) if party in lost else next(replies)

    def _faults(
        self, request: RoundRequest, cohort: Sequence[str]
    ) -> tuple[dict[str, str], dict[str, Mapping[str, int]]]:
        """Return why parties are lost to a round, and options of the parties that are slow."""
        chance = {
            party: seeds.stream(self._seed, "dropout", request.round, party).random()
            for party in cohort
        }
        lost = {
            party: "dropped out (simulated)" for party in cohort if chance[party] < self._dropout
        }
        options: dict[str, Mapping[str, int]] = {}
        if self._stragglers:
            work = "steps" if request.options.get("steps") else "epochs"
            most = request.options[work]
            slow = self._stragglers.among(cohort, most, self._seed, request.round)
            if self._uses_partial_work:
                options = {party: {work: amount} for party, amount in slow.items()}
            else:
                lost |= dict.fromkeys(slow, "was too slow (simulated)")
        num_spared = max(0, self._min_updates - len(cohort) + len(lost))
        for party in sorted(lost, key=lambda party: -chance[party])[:num_spared]:
            del lost[party]
        return lost, options


def flip_labels(
    parties: Sequence[Party],
    hostile: Sequence[str],
    attack: DataPoisoning | ModelPoisoning | None,
    labels: np.ndarray,
) -> Sequence[Party]:
    """Return the parties, where those that are hostile train on an attack's labels.

    labels: those of all rows of the federation
    Parties stay as they are where the attack is not on data.
    """
    if not isinstance(attack, DataPoisoning):
        return parties
    return [
        replace(party, train=attack.flip(party.train, labels)) if party.id in hostile else party
        for party in parties
    ]
