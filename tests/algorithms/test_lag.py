"""LAG: when a party sends its change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from linear_parties import (
    SIZES,
    START,
    UNLIKE,
    after,
    best_for_all,
    close_to,
    context_of,
    descend,
    federation,
    flat,
    info_of,
    named,
)

from fusion_nb.core import registry
from fusion_nb.core.types import NoUpdate, Update


class TestLAG:
    def test_lag_wk_of_the_paper(self) -> None:
        """LAG-WK of Chen et al. 2018 with steps of gradient descent, whose mean is followed."""
        made = federation("lag:xi=0.1,memory=3", epochs=1)
        w, sent, moves = START, np.zeros((3, 3)), [0.0]
        for record in made.rounds(12):
            change = [descend(w, own, 1) - w for own in UNLIKE]
            far = [float(((change[i] - sent[i]) ** 2).sum()) for i in range(3)]
            silent = [i for i in range(3) if record.round > 1 and far[i] <= 0.1 * sum(moves[-3:])]
            assert record.silent == tuple(f"p{i}" for i in silent)
            sent = np.array([sent[i] if i in silent else change[i] for i in range(3)])
            step = SIZES @ sent / SIZES.sum()
            w, moves = w + step, [*moves, float(step @ step)]
            assert flat(made.weights) == close_to(w)
        assert 0 < sum(len(record.silent) for record in made.history) < 30

    def test_parties_that_rarely_send_find_the_optimum(self) -> None:
        made = federation("lag:xi=0.1", epochs=1, lr=0.3)
        pooled = np.concatenate([x for x, _ in UNLIKE]), np.concatenate([y for _, y in UNLIKE])
        best = best_for_all([pooled])
        assert after(100, made) == pytest.approx(best, abs=1e-5)
        assert sum(len(record.silent) for record in made.history) > 0.7 * 3 * 100

    def test_changes_of_statistics_are_no_reason_to_send(self) -> None:
        rule = registry.create("fusions", "lag:xi=0.1")
        info = info_of(named([0.0]) | {"mean": np.zeros(1)}, statistics=["mean"])
        state: dict[str, Any] = {}
        answers = []
        for number in range(1, 4):
            weights = named([float(number)]) | {"mean": np.array([100.0 * number])}
            trained = named([number + 1.0]) | {"mean": np.array([(-10.0) ** number])}
            answers.append(rule.local_update(context_of(weights, state, number, trained, info)))
        assert [type(answer) for answer in answers] == [Update, NoUpdate, NoUpdate]

    def test_moves_of_statistics_are_no_reason_to_send_nothing(self) -> None:
        rule = registry.create("fusions", "lag:xi=0.1")
        info = info_of(named([0.0]) | {"mean": np.zeros(1)}, statistics=["mean"])
        state: dict[str, Any] = {}
        for number in (1, 2):
            weights = named([float(number)]) | {"mean": np.array([100.0 * number])}
            trained = named([number + 2.0 * number]) | {"mean": weights["mean"]}
            assert isinstance(
                rule.local_update(context_of(weights, state, number, trained, info)), Update
            )
