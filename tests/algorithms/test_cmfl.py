"""CMFL: when a party sends its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from linear_parties import (
    SIZES,
    START,
    UNLIKE,
    close_to,
    context_of,
    descend,
    federation,
    flat,
    info_of,
    named,
)

from fusion_nb.core import registry
from fusion_nb.core.types import NoUpdate


class TestCMFL:
    @pytest.mark.parametrize("decay", [False, True])
    def test_relevance_of_the_paper(self, decay: bool) -> None:
        """Wang et al. 2019: at least a share of the signs must be those of the fused model's last
        change."""
        made = federation(f"cmfl:threshold=0.9,decay={str(decay).lower()}", epochs=1)
        w, move = START, None
        for record in made.rounds(12):
            trained = [descend(w, own, 1) for own in UNLIKE]
            least = 0.9 / (record.round**0.5 if decay else 1)
            sends = [
                move is None or np.mean(np.sign(y - w) == np.sign(move)) >= least for y in trained
            ]
            assert record.silent == tuple(f"p{i}" for i in range(3) if not sends[i])
            if any(sends):
                n = SIZES * sends
                fused = n @ np.array(trained) / n.sum()
                w, move = fused, fused - w
            assert flat(made.weights) == close_to(w)
        assert 0 < sum(len(record.silent) for record in made.history) < 36

    def test_frozen_weights_and_statistics_are_not_counted(self) -> None:
        rule = registry.create("fusions", "cmfl:threshold=0.5")
        state: dict[str, Any] = {}
        still = {"frozen": np.ones(50), "mean": np.ones(9)}
        info = info_of(named([0.0] * 3) | still, statistics=[*still])
        first, second = named([0.0, 0.0, 0.0]) | still, named([1.0, 1.0, 1.0]) | still
        rule.local_update(context_of(first, state, 1, second, info))
        opposite = named([0.0, 0.0, 2.0]) | still | {"mean": np.full(9, 2.0)}
        answer = rule.local_update(context_of(second, state, 2, opposite, info))
        assert isinstance(answer, NoUpdate)
        assert answer.divergence == pytest.approx(2 / 3)
