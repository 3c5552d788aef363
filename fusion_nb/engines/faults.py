"""Faults as a wrapper around any engine: parties that drop out of a round, that are too slow, or
that mean harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core import registry, seeds
from fusion_nb.core.party import Party
from fusion_nb.core.replies import round_half_up
from fusion_nb.core.types import Engine, Failure, Reply, Verb
from fusion_nb.errors import OptionError

#: `(replies, orders) -> replies`: what hostile parties make of a round's replies.
Attack = Callable[[Iterator[Reply], Mapping[str, Any]], Iterator[Reply]]


@dataclass(frozen=True)
class Stragglers:
    """A share of each cohort that does less than all epochs: so many, or a number drawn anew each
    time (None).

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
            raise OptionError(f"--straggler {text} is not allowed", hint)
        return made

    def check(self, most: int, option: str) -> None:
        """Raise OptionError where a party that does its share of the work can't do less."""
        if (self.epochs or 1) >= most:
            line = f"--straggler asks for less work than {option} {most}, and there is none"
            raise OptionError(line, f"use a larger {option}, or fewer epochs for stragglers")

    def among(self, cohort: Sequence[str], most: int, seed: int, round: int) -> dict[str, int]:
        """Return the stragglers of a round, and how much each does: a function of seed and round
        alone.
        """
        rng = seeds.stream(seed, "straggler", round)
        slow = rng.choice(len(cohort), round_half_up(self.share * len(cohort)), replace=False)
        return {cohort[i]: self.epochs or int(rng.integers(1, max(2, most))) for i in sorted(slow)}


class Faulty:
    """An engine whose parties drop out, are slow, or are hostile, as a function of seed and round.

    dropout:       chance that a party fails in a round
    stragglers:    who does less; keeps_partial: whether what they did is of use, or they are left
                   out
    attack:        what hostile parties make of a round's replies
    least:         so many parties of each cohort do all their work, since with fewer the round
                   would fail; and it would fail again whenever it is tried, as who is lost to it is
                   always the same
    """

    def __init__(
        self,
        engine: Engine,
        *,
        seed: int,
        dropout: float = 0.0,
        stragglers: Stragglers | None = None,
        keeps_partial: bool = False,
        attack: Attack | None = None,
        least: int = 1,
    ) -> None:
        self._engine, self._seed = engine, seed
        self._dropout, self._stragglers, self._keeps_partial = dropout, stragglers, keeps_partial
        self._attack, self._least = attack, least

    @property
    def inner(self) -> Engine:
        """The engine that this one is around."""
        return self._engine

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        """Let the engine take charge of the parties."""
        self._engine.start(parties, model, gate)

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort; in a round, some fail."""
        if verb != "fit" or not orders["round"]:
            return self._engine.run(verb, cohort, **orders)
        return self._round(cohort, orders)

    def close(self) -> None:
        """Let go of the engine's workers."""
        self._engine.close()

    def _round(self, cohort: Sequence[str], orders: dict[str, Any]) -> Iterator[Reply]:
        lost, each = self._faults(cohort, orders)
        replies = self._engine.run(
            "fit", [party for party in cohort if party not in lost], **orders, each=each
        )
        replies = self._attack(replies, orders) if self._attack else replies
        for party in cohort:
            yield Failure(party, lost[party]) if party in lost else next(replies)

    def _faults(
        self, cohort: Sequence[str], orders: Mapping[str, Any]
    ) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        """Return why parties are lost to a round, and what options are other ones for those that
        are slow.
        """
        round, local = orders["round"], orders["local"]
        chance = {
            party: seeds.stream(self._seed, "dropout", round, party).random() for party in cohort
        }
        lost = {
            party: "dropped out (simulated)" for party in cohort if chance[party] < self._dropout
        }
        each: dict[str, dict[str, int]] = {}
        if self._stragglers:
            work = "steps" if local.get("steps") else "epochs"
            slow = self._stragglers.among(cohort, local[work], self._seed, round)
            if self._keeps_partial:
                each = {party: {work: amount} for party, amount in slow.items()}
            else:
                lost |= dict.fromkeys(slow, "was too slow (simulated)")
        for party in sorted(lost, key=lambda party: -chance[party])[
            : max(0, self._least - len(cohort) + len(lost))
        ]:
            del lost[party]
        return lost, each


def attack_of(adversary: Any, hostile: Sequence[str], model: Any) -> Attack | None:
    """Return what an adversary that forges replies does to those of a round, or None.

    What gradients train is looked up late, since some models have weights only once all parties
    agree on them.
    """
    if not callable(adversary):
        return None
    return lambda replies, orders: adversary(replies, orders, hostile, model.trained_names())


def misled(
    parties: Sequence[Party], hostile: Sequence[str], adversary: Any, labels: np.ndarray
) -> Sequence[Party]:
    """Return the parties, where an adversary flips labels with other training rows for those that
    are hostile.

    labels: those of all rows there are
    """
    if not hasattr(adversary, "flipped"):
        return parties
    return [
        Party(party.id, adversary.flipped(party.train, labels), party.test)
        if party.id in hostile
        else party
        for party in parties
    ]
