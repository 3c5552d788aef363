"""The history: columns, tables, JSON, and the best round."""

from __future__ import annotations

import json
from typing import Any

import pytest
from core_runs import run_of

from fusion_nb.core.history import History, better, from_dict, to_dict
from fusion_nb.errors import OptionError


def test_columns_frame_and_json(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), rounds=3).start().wait()
    frame = run.history.to_frame()
    assert frame.index.tolist() == [1, 2, 3]
    assert frame["loss"].tolist() == run.history["loss"]
    assert '"party_metrics"' in run.history.to_json()
    assert [
        from_dict(json.loads(json.dumps(to_dict(record)))) for record in run.records
    ] == run.records
    assert isinstance(run.history[1:], History)
    assert run.history.party("party 2", "accuracy")[-1] == run.parties[1].fused["accuracy"]
    with pytest.raises(OptionError, match="did you mean 'accuracy'"):
        _ = run.history["acuracy"]


def test_the_history_of_a_run_is_a_copy(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), rounds=2).start().wait()
    run.history.clear()
    assert len(run.history) == 2


def test_better_knows_the_direction_and_nan() -> None:
    assert better("accuracy", 0.9, 0.8)
    assert better("loss", 0.8, 0.9)
    assert better("loss", 0.8, float("nan"))
    assert not better("loss", float("nan"), 0.8)
