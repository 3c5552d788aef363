"""Parts that the tests of boosted trees share: rows, and small models of both frameworks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from fusion_nb import federate

FRAMEWORKS = ("xgboost", "lightgbm")
Arrays = tuple[np.ndarray, np.ndarray]


def classes(count: int = 240, num_classes: int = 3) -> Arrays:
    """Rows of 4 numbers in some classes."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % num_classes
    return rng.normal(size=(count, 4)) + 2 * np.eye(num_classes, 4)[y], y


def measurements(count: int = 240) -> Arrays:
    """Rows of 4 numbers, and a number far from 0 that depends on them."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, 4))
    return x, 200 + 5 * (x[:, 0] > 0) + x[:, 1]


def classifier(framework: str, **options: Any) -> Any:
    """A classifier of a framework."""
    module = pytest.importorskip(framework)
    if framework == "xgboost":
        return module.XGBClassifier(**{"max_depth": 2, **options})
    small = {"num_leaves": 4, "min_child_samples": 5, "verbosity": -1}
    return module.LGBMClassifier(**{**small, **options})


def regressor(framework: str, **options: Any) -> Any:
    """A regressor of a framework."""
    module = pytest.importorskip(framework)
    if framework == "xgboost":
        return module.XGBRegressor(**{"max_depth": 2, **options})
    small = {"num_leaves": 4, "min_child_samples": 5, "verbosity": -1}
    return module.LGBMRegressor(**{**small, **options})


def sites(data: Arrays, count: int = 3) -> dict[str, Any]:
    """Parties by name, each with rows that are test rows as well; the first one has fewer."""
    x, y = data
    ends = np.linspace(0, len(y), count + 1).astype(int)
    ends[1] -= 15
    return {
        f"site {i}": ((x[a:b], y[a:b]), (x[a:b], y[a:b]))
        for i, (a, b) in enumerate(itertools.pairwise(ends))
    }


def trained(model: Any, data: Any, **options: Any) -> Any:
    """The run of a model, few rounds long unless it is said otherwise."""
    return federate(model, data, **{"rounds": 3, **options})
