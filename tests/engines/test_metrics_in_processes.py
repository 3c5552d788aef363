"""Added metrics of parties in worker processes: the numbers of the local engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusion_nb


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["process"])
def test_as_in_this_process(net: Any, engine: str) -> None:
    @fusion_nb.metric
    def own(labels: Any, scores: Any) -> float:
        return float(scores[labels == 1].mean())

    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=120) > 1).astype(np.int64)
    options: dict[str, Any] = {
        "metrics": "auc,f1,own",
        "class_weights": "balanced",
        "personal": "ditto",
        "rounds": 2,
        "lr": 0.3,
        "parties": 3,
    }
    runs = [
        fusion_nb.federate(net(5, 1), (x, y), engine=name, **options) for name in ("local", engine)
    ]
    for one, other in zip(*(run.history for run in runs), strict=True):
        assert one.metrics == other.metrics
        assert one.party_metrics == other.party_metrics
