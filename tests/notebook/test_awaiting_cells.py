"""A cell's body that awaits: a kernel runs it inside its own event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cells import fuse

from fusion_nb.errors import OptionError, RunError

MODEL = "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))"
AWAITING = {
    "await": "await asyncio.sleep(0)",
    "async with": "async with asyncio.Lock():\n    pass",
    "async for": "async for _ in rows():\n    pass",
    "comprehension": "found = [row async for row in rows()]",
}


async def _in_a_loop(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


@pytest.mark.parametrize("body", AWAITING.values(), ids=list(AWAITING))
def test_it_is_refused_in_one_line_before_anything_is_run(ip: Any, body: str) -> None:
    cell = f"ran = True\nimport asyncio\n{body}"
    seen = asyncio.run(_in_a_loop(fuse, ip, "--rounds 1", cell))
    assert isinstance(seen.error, RunError)
    assert "has an `await`" in str(seen.error)
    assert "in a cell of its own" in seen.error.hint
    assert "ran" not in ip.ns


@pytest.mark.parametrize(
    "body", [MODEL, f"async def later():\n    await rows()\n{MODEL}", f"text = 'await x'\n{MODEL}"]
)
def test_a_body_that_only_defines_is_run(ip: Any, body: str) -> None:
    seen = asyncio.run(_in_a_loop(fuse, ip, "--rounds 1 --parties 2", body))
    assert seen.error is None
    assert ip.ns["run"].status == "finished"


def test_a_body_that_can_not_be_read_is_shown_by_ipython(ip: Any) -> None:
    seen = asyncio.run(_in_a_loop(fuse, ip, "--rounds 1", "await ("))
    assert isinstance(seen.error, OptionError)
