"""The log of a party: every request that came, and every byte that left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np


class Journal:
    """Writes one line for each message, to a file and to `say`.

    A line about what left names the arrays and their shapes, the numbers, and the SHA-256 of the
    bytes, so that a copy of the traffic can be compared with it.
    """

    def __init__(self, path: Path | None, say: Callable[[str], object]) -> None:
        self._path, self._say = path, say

    def note(self, text: str) -> None:
        """Write a line about the party itself."""
        self._write(f"--   {text}")

    def came(self, size: int, text: str) -> None:
        """Write a line about a request."""
        self._write(f"IN   {size:>12,} bytes  {text}")

    def left(self, body: bytes, tree: Mapping[str, Any]) -> None:
        """Write a line about a reply, just before it is sent."""
        digest = hashlib.sha256(body).hexdigest()
        self._write(f"OUT  {len(body):>12,} bytes  {contents(tree)}; sha256 {digest}")

    def _write(self, text: str) -> None:
        line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}  {text}"
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        self._say(line)


def contents(tree: Mapping[str, Any]) -> str:
    """Return what a reply holds, in words.

    >>> contents({"reply": "Update", "fields": {"weights": {"w": np.zeros(2)}, "num_examples": 8}})
    'Update: weights: w float64 (2,); num_examples: 8'
    """
    if "refused" in tree:
        return f"refused: {tree['refused']}"
    word = f"{tree['reply']}: " if "reply" in tree else ""
    fields = tree["fields"] if "reply" in tree else tree
    return word + "; ".join(
        f"{name}: {_shown(value)}" for name, value in fields.items() if not _is_empty(value)
    )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, dict | list | tuple | str) and not value)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name} {value.shape}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return " ".join(str(value).split())
