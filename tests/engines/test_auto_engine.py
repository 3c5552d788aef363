"""The engine that chooses another one."""

from __future__ import annotations

from typing import Any

import pytest
from engine_runs import Drops, finished, seeded

from fusion_nb import RunSpec
from fusion_nb.engines.local import LocalEngine
from fusion_nb.engines.vectorized import VectorizedEngine
from fusion_nb.runs.build import build


def test_it_says_what_it_chose_and_why(rows: Any, net: Any) -> None:
    run = finished("auto", rows, net())
    assert any(note.startswith("engine: ") for note in run.notes)
    run = finished("auto", rows, seeded(Drops))
    assert "engine: local (it draws random numbers, as dropout does)" in run.notes


@pytest.mark.parametrize(("speedup", "kind"), [(1.1, LocalEngine), (3.0, VectorizedEngine)])
def test_it_stacks_models_where_that_is_faster(
    rows: Any, net: Any, monkeypatch: pytest.MonkeyPatch, speedup: float, kind: type
) -> None:
    monkeypatch.setattr("fusion_nb.engines.auto.measure_speedup", lambda *_: speedup)
    federation = build(
        RunSpec(data="data", engine="auto", parties=3), {"model": net(), "data": rows}
    )
    assert type(federation.network.engine.innermost) is kind
