"""Tables in cells: statistics, encoding, help and completion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_nb.notebook import complete

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(50, 10, 120),
        "city": RNG.choice(["Oslo", "Rome"], 120),
        "site": np.repeat(["a", "b", "c"], 40),
        "sick": RNG.choice(["no", "yes"], 120),
    }
)
FRAME.loc[::9, "age"] = np.nan
LINE = "--data people --label sick --split by_key:site"


@pytest.fixture(autouse=True)
def _people(ip: Any) -> None:
    ip.ns["people"] = FRAME


def test_statistics_are_shown_as_tables(ip: Any) -> None:
    for line in (f"stats {LINE} --min-count 7", "stats people --label sick --split by_key:site"):
        shown = ip.run(f"%fusion {line}").result
        assert "<td>" in shown._repr_html_()
        assert list(shown.categories.columns) == ["a", "b", "c", "together"]
    assert "counts below 5 are not shown" in repr(shown)
    refused = ip.run("%fusion stats people --min-count few").error
    assert "--min-count few is not allowed" in str(refused)
    assert "takes no --min-count" in str(ip.run("%fusion split --min-count 7").error)


def test_a_cell_trains_on_a_table_and_the_split_tells_its_inputs(ip: Any) -> None:
    told = ip.run(f"%fusion split {LINE} --tabular auto").text
    assert "2 columns become 4 inputs; numbers: age; categories: city" in told
    body = "from torch import nn\nmodel = nn.Linear(4, 2)"
    cell = f"%%fusion {LINE} --tabular auto:impute=median --rounds 1 --quiet\n{body}"
    assert ip.run(cell).error is None
    assert set(ip.ns["run"].predict(FRAME)) <= {"no", "yes"}
    refused = str(ip.run(f"%%fusion {LINE} --rounds 1\n{body}").error)
    assert "city (text)" in refused
    assert "add --tabular auto" in refused


def test_help_and_completion_know_it(ip: Any) -> None:
    assert "use: --tabular auto:impute=..." in ip.run("%fusion help auto").text
    assert complete.values("tabular", "", {}) == ["auto"]
    assert "auto:min_count=" in complete.values("tabular", "auto:", {})
