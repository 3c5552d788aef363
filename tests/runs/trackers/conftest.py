"""A registered tracker that writes down its calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fusion_nb.core import registry
from fusion_nb.runs.session import RUNS

pytest.importorskip("torch")

from tracked import MADE, Written


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `log="written"` name the tracker, and runs be called as in a new kernel."""
    registry.register("trackers", "written", Written)
    RUNS.clear()
    yield
    RUNS.clear()
    MADE.clear()
