"""Means of the parties' weights. Each rule is the function that a user would write in a cell."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from fusion_nb.algorithms.fusions.base import stateless
from fusion_nb.core.arithmetic import RunningMean, weighted_mean
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Update, Weights


@functools.partial(stateless, linear=True)
def fedavg(weights: Weights, updates: Iterator[Update]) -> Weights:
    """Average the parties' weights, each in proportion to its number of training rows.

    Source: McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of
    Deep Networks from Decentralized Data", AISTATS 2017.
    """
    return weighted_mean(updates, lambda update: update.num_examples)


@functools.partial(stateless, linear=True, equal_shares=True)
def iter_avg(weights: Weights, updates: Iterator[Update]) -> Weights:
    """Average the parties' weights, each with the same share however many rows it has.

    Source: Ludwig et al., "IBM Federated Learning: an Enterprise Framework White Paper V0.1", 2020.
    """
    return weighted_mean(updates, lambda update: 1.0)


class Averaging(Fusion):
    """Averages the parties' weights in proportion to their rows.

    It is a base of rules that change the local update.

    The weights stay as they are in a round without updates.

    >>> import numpy as np
    >>> class LongFirstRound(Averaging):
    ...     '''Averages weights that parties train for five epochs in round 1.'''
    ...     def local_update(self, context):
    ...         options = {"epochs": 5} if context.round == 1 else {}
    ...         return context.update(context.train(context.weights, **options).weights)
    >>> updates = [Update("a", {"w": np.zeros(1)}, 30), Update("b", {"w": np.ones(1)}, 10)]
    >>> LongFirstRound().aggregate({"w": np.zeros(1)}, iter(updates), None)
    ({'w': array([0.25])}, None)
    """

    averages = True

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the mean of the updates, weighted by their rows, and the state unchanged."""
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, update.num_examples)
        return mean.mean() if mean.total else weights, state
