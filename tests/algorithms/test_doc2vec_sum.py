"""The fusion of Doc2Vec models adds the parties' changes, up to a limit for each word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusion_nb.algorithms.fusions.doc2vec_sum import Doc2VecFusion
from fusion_nb.core.types import Update


def test_changes_are_added() -> None:
    old = {"w": np.array([[1.0, 0], [0, 0]], np.float32)}
    parts = [np.array([[1.0, 1], [0, 0]]), np.array([[3.0, 0], [0, 0]])]
    updates = [
        Update(f"p{i}", {"w": part.astype(np.float32)}, 10 * (i + 1))
        for i, part in enumerate(parts)
    ]

    def aggregated(**options: Any) -> Any:
        fusion = Doc2VecFusion(**options)
        return fusion.aggregate(old, iter(updates), None)[0]["w"].tolist()

    assert aggregated(limit=0.0) == [[3, 1], [0, 0]]
    assert aggregated(eta=1.0, limit=0.0) == [[2, 0.5], [0, 0]]
    weighted = aggregated(eta=3.0, weighted=True, limit=0.0)
    assert weighted == pytest.approx(np.array([[5, 1], [0, 0]]))


def test_a_change_that_parties_agree_on_is_limited() -> None:
    old = {"w": np.zeros((2, 2), np.float32)}
    same, apart = np.array([3.0, 4]), np.eye(2)
    updates = [
        Update(f"p{i}", {"w": np.stack([same, apart[i]]).astype(np.float32)}, 1) for i in range(2)
    ]
    moved = Doc2VecFusion(limit=1.5).aggregate(old, iter(updates), None)[0]["w"]
    assert moved[0].tolist() == pytest.approx(1.5 * same)
    assert moved[1].tolist() == [1, 1]
