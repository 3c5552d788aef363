"""A base of rules that tolerate hostile parties."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fusion_nb.algorithms.fusions.update_matrix import each_column
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Update, Weights
from fusion_nb.errors import DivergedError, PartyError, option


class RobustFusion(Fusion):
    """Reads all updates of a round before it combines them.

    It is a base of rules that tolerate hostile parties.

    The updates of a few hostile parties, whatever they hold, move the result only by a limited
    distance. A party's number of rows is only its claim, so in all of these rules every party has
    the same share. Whole numbers and booleans are the median of the parties' unless a rule says
    otherwise: they are left out of distances.

    >>> class Largest(RobustFusion):
    ...     "Take the largest of the parties' numbers."
    ...     name = "largest"
    ...     def combine(self, weights, updates, state):
    ...         return each_column(updates, lambda block: block.max(axis=0)), state
    >>> updates = [Update("a", {"w": np.array([1.0, 5.0])}, 1), Update("b", {"w": np.ones(2)}, 1)]
    >>> Largest().aggregate({"w": np.zeros(2)}, iter(updates), None)
    ({'w': array([1., 5.])}, None)
    """

    not_linear = "compares the updates of single parties"

    #: Its name in messages.
    name = ""
    #: How to make it change something, where it changed nothing.
    hint = "choose other numbers for the rule"

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights and the state that `combine` returns for all updates.

        Raises PartyError where there are fewer updates than the rule needs to tolerate any hostile
        party.
        """
        # In the order of names, so that neither sums nor ties depend on who answered first.
        received = sorted(updates, key=lambda update: update.party)
        needed = self.requires.min_updates
        if len(received) < needed:
            raise PartyError(
                f"{self.name} needs the updates of {needed} parties in a round, and got "
                f"{len(received)}",
                f"use more {option('parties')}, a larger {option('fraction')} or "
                f"{option('quorum')}, or other numbers for the rule",
            )
        return self.combine(weights, received, state)

    def notes(self, state: Any) -> Sequence[str]:
        """Return a warning where no round was another than a plain mean; see `counted`."""
        rounds = state.get("rounds", 0) if isinstance(state, Mapping) else 0
        if not rounds or state["touched"]:
            return []
        when = "its one round" if rounds == 1 else f"{rounds} rounds"
        return [
            f"warning: {self.name} left every update as it was in {when}, which is iter_avg: "
            f"{self.hint}"
        ]

    @abstractmethod
    def combine(
        self, weights: Weights, updates: Sequence[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the new weights and the new state.

        updates: in the order of the parties' names
        """


def counted(state: Any, num_touched: int) -> dict[str, Any]:
    """Return a rule's state with one more round, and the updates in it that were cut or left out.

    >>> counted(counted(None, 0), 2)
    {'rounds': 2, 'touched': 2}
    """
    kept = dict(state or {})
    rounds, touched = kept.get("rounds", 0) + 1, kept.get("touched", 0) + num_touched
    return {**kept, "rounds": rounds, "touched": touched}


def column_median(block: np.ndarray) -> np.ndarray:
    """Return the median of each column."""
    return np.asarray(np.median(block, axis=0))


def finite_changes(products: np.ndarray, num_extra: int = 0) -> tuple[list[int], np.ndarray]:
    """Return the positions of the changes that are not infinitely long, and the products of these.

    num_extra: how many of the last are no parties' changes
    Raises DivergedError where all parties' changes are infinitely long.
    """
    near = np.flatnonzero(np.isfinite(np.diagonal(products)))
    if len(near) == num_extra:
        raise DivergedError(
            "all parties' weights moved so far that no distance is finite",
            f"use a smaller {option('lr')}",
        )
    return near.tolist(), products[np.ix_(near, near)]


def moved_by(weights: Weights, updates: Sequence[Update], step: Weights) -> Weights:
    """Return the weights moved by a step, and the parties' medians where there is no step.

    step: of the floating entries
    """
    moved = {
        name: np.asarray(weights[name] + change).astype(weights[name].dtype)
        for name, change in step.items()
    }
    others = [
        Update(u.party, {n: a for n, a in u.weights.items() if n not in moved}, u.num_examples)
        for u in updates
    ]
    counted = each_column(others, column_median)
    return {name: moved[name] if name in moved else counted[name] for name in weights}
