"""Cells that tests of the magics run."""

from __future__ import annotations

from typing import Any

#: A body that defines a small model for images of 28 x 28.
CELL = (
    "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), "
    "nn.Linear(16, 10))\n"
)


def fuse(ip: Any, line: str = "--rounds 1", body: str = CELL) -> Any:
    """Run a `%%fusion` cell, and return what was seen."""
    return ip.run(f"%%fusion {line}\n{body}")
