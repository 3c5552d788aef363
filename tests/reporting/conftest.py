"""Parts that the tests of reports share: a maker of runs that have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fusion_nb import Run, RunSpec


@pytest.fixture
def trained(rows: Any) -> Callable[..., Run]:
    """A maker of runs on the small rows, which waits for their end."""

    def make(model: Any, **options: Any) -> Run:
        spec = RunSpec(data="data", **{"lr": 0.1, "rounds": 3} | options)
        return Run(spec, {"model": model, "data": rows}).start().wait()

    return make
