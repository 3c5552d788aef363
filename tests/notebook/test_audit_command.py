"""The command `%fusion audit`."""

from __future__ import annotations

from typing import Any

CELL = """%%fusion --data rows --parties 2 --rounds 1 --name mine --quiet
from torch import nn
model = nn.Sequential(nn.Linear(5, 3))
"""


def test_it_audits_a_run_by_name_or_the_last_one(ip: Any, rows: Any) -> None:
    ip.shell.user_ns["rows"] = rows
    ip.run(CELL)
    assert "audit of mine" in str(ip.run("%fusion audit mine").result)
    assert "party 2" in str(ip.run("%fusion audit mine party 2").result)
    assert "audit of mine" in str(ip.run("%fusion audit").result)
