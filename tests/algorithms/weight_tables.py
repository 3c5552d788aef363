"""Updates of a round as rows of a table, and robust rules in a few lines of numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from linear_parties import info_of

from fusion_nb.core import registry
from fusion_nb.core.types import Update, Weights

START: Weights = {"a": np.full((2, 3), 0.5), "b": np.linspace(-1, 1, 4)}


def weights_of(vector: np.ndarray) -> Weights:
    """Return weights like START that hold these numbers in a row."""
    return {"a": vector[:6].reshape(2, 3).copy(), "b": vector[6:].copy()}


def vector_of(weights: Weights) -> np.ndarray:
    return np.concatenate([weights["a"].ravel(), weights["b"]])


ORIGIN = vector_of(START)


def updates(table: np.ndarray) -> list[Update]:
    return [Update(f"party {i:02}", weights_of(row), i + 1) for i, row in enumerate(table)]


def some(count: int, seed: int = 0) -> np.ndarray:
    return ORIGIN + np.random.default_rng(seed).normal(0.3, 1.0, (count, 10))


def fused(
    name: str, given: np.ndarray | Sequence[Update], start: Weights = START, rounds: int = 1
) -> Any:
    """The weights that a rule makes of a table (as a vector) or of updates, given in each round."""
    rule = registry.create("fusions", name)
    state = rule.init(start, info_of(start))
    sent = updates(given) if isinstance(given, np.ndarray) else given
    for _ in range(rounds):
        result, state = rule.aggregate(start, iter(sent), state)
    return vector_of(result) if isinstance(given, np.ndarray) else result


def krum_order(table: np.ndarray, f: int) -> list[int]:
    scores = []
    for i, row in enumerate(table):
        squares = sorted(((row - other) ** 2).sum() for j, other in enumerate(table) if j != i)
        scores.append(sum(squares[: max(1, len(table) - f - 2)]))
    return sorted(range(len(table)), key=lambda i: scores[i])


def bulyan(table: np.ndarray, f: int) -> np.ndarray:
    left, chosen = list(range(len(table))), []
    while len(chosen) < len(table) - 2 * f:
        chosen.append(left.pop(krum_order(table[left], f)[0]))
    columns = []
    for column in table[chosen].T:
        middle = np.median(column)
        columns.append(
            np.mean(sorted(column, key=lambda value: abs(value - middle))[: len(chosen) - 2 * f])
        )
    return np.array(columns)


def clipped(table: np.ndarray, tau: float, iterations: int, rounds: int) -> np.ndarray:
    v = np.zeros(10)
    for _ in range(rounds * iterations):
        v = v + np.mean(
            [(d - v) * min(1, tau / np.linalg.norm(d - v)) for d in table - ORIGIN], axis=0
        )
    return ORIGIN + v


def trimmed(table: np.ndarray, cut: int) -> np.ndarray:
    return np.sort(table, axis=0)[cut : len(table) - cut].mean(axis=0)
