"""Runs of known values, which tests of comparisons share."""

from __future__ import annotations

from typing import Any

from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.runs.experiments.comparing.entries import Entry


def entry(
    label: str, seed: int, values: list[float], *, size: int = 1_000_000, **more: Any
) -> Entry:
    """A run with these accuracies, whose rounds send 2 MB and take 1 s."""
    records = [
        RoundRecord(i, {"loss": 1 - v, "accuracy": v}, {}, ("a",), 1.0, size, size)
        for i, v in enumerate(values, 1)
    ]
    return Entry(label, seed, History(records), ("loss", "accuracy"), "accuracy", **more)


def pair(n: int, gap: float = 0.1) -> list[Entry]:
    """Runs of `good` and `bad` over n seeds."""
    return [
        each
        for seed in range(n)
        for each in (
            entry("bad", seed, [0.2, 0.5 + seed / 100]),
            entry("good", seed, [0.3, 0.5 + seed / 100 + gap * (1 + seed / 10)]),
        )
    ]
