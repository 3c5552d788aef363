"""Means of the parties' weights. Each rule is the function that a user would write in a cell."""

from __future__ import annotations

from collections.abc import Iterator

from fusion_nb.algorithms.fusions.base import stateless
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.types import Update, Weights


@stateless
def fedavg(weights: Weights, updates: Iterator[Update]) -> Weights:
    """Average the parties' weights, each in proportion to its number of training rows.

    Source: McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of
    Deep Networks from Decentralized Data", AISTATS 2017.
    """
    return weighted_mean(updates, lambda update: update.num_examples)


@stateless
def iter_avg(weights: Weights, updates: Iterator[Update]) -> Weights:
    """Average the parties' weights, each counting the same however many rows it has.

    Source: Ludwig et al., "IBM Federated Learning: an Enterprise Framework White Paper V0.1", 2020.
    """
    return weighted_mean(updates, lambda update: 1.0)
