"""Parts that tests of scikit-learn's estimators share: rows, parties and runs of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from fusion_nb import federate

Arrays = tuple[np.ndarray, np.ndarray]


def classes(count: int = 240, seed: int = 0) -> Arrays:
    """Rows of 5 numbers in 3 classes, some of them far from 0 and of different sizes."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, 5)) + np.eye(3, 5)[y] * 3
    return x * [1, 1, 1, 50, 0.01] + [0, 0, 0, 1000, 0], y


def counts(count: int = 150) -> Arrays:
    """Rows of counts in 3 classes."""
    rng = np.random.default_rng(1)
    y = np.arange(count) % 3
    return rng.poisson(1 + 3 * np.eye(3, 6)[y]).astype(float), y


def measurements(count: int = 200) -> Arrays:
    """Rows of 4 numbers, and a number that depends on them."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(count, 4)) * [1, 10, 0.1, 1] + [5, 0, 0, 100]
    return x, x @ [1.0, -0.2, 4.0, 0.5] + rng.normal(size=count) * 0.1


def parties(data: Arrays, sizes: tuple[int, ...] = (40, 100, 60)) -> dict[str, Any]:
    """Parties of different sizes by name, each with rows that are test rows as well."""
    x, y = data
    ends = np.cumsum((0, *sizes, len(y) - sum(sizes)))
    parts = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(ends) if b > a]
    return {f"site {i}": (part, part) for i, part in enumerate(parts)}


def by_class(data: Arrays) -> dict[str, Any]:
    """Parties that have rows of one class each."""
    x, y = data
    return {
        f"only {label}": ((x[y == label], y[y == label]), (x[y == label], y[y == label]))
        for label in np.unique(y)
    }


def trained(model: Any, data: Any, **options: Any) -> Any:
    """The run of a model, few rounds long unless it is said otherwise."""
    return federate(model, data, **{"rounds": 3, **options})
