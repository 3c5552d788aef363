"""Secure aggregation among many parties beside plain rounds: `python -m benchmarks.masks CASE ...`.

A case is COHORT (of 1,000 parties), or COHORT:NEIGHBOURS, where "all" lets every pair share masks;
by default 100, 100:all and 1000. Prints seconds of a round, and of one party in it, with bytes that
it sends and receives. The model is a perceptron of 20-64-3, so that nearly all is masks and keys.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb import Run, RunSpec

_PARTIES, _ROWS = 1000, 4
#: The case that is measured where none is named.
CASES = ("100", "100:all", "1000")
_HEAD = (
    "| of 1,000 parties | a round | a party, keys and masks | sent | received | dropped out |",
    "|---|---|---|---|---|---|",
)


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of three classes, four for each party."""
    y = np.arange(_PARTIES * _ROWS) % 3
    x = np.random.default_rng(seed).standard_normal((len(y), 20)) + 2 * np.eye(3, 20)[y]
    return x.astype(np.float32), y


def measured(cohort: int, secure: str = "", dropout: float = 0.0) -> dict[str, float]:
    """Return seconds and bytes of one round of so many parties out of 1,000."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))
    train = rows()
    data = (train, (train[0][:300], train[1][:300]))
    options: dict[str, Any] = {"fraction": cohort / _PARTIES, "secure": secure, "dropout": dropout}
    spec = RunSpec(data="data", parties=_PARTIES, rounds=1, lr=0.1, holdout=0.0, **options)
    began = time.perf_counter()
    run = Run(spec, {"model": model, "data": data}).start().wait()
    (record,), count = run.history, len(run.history[0].cohort)
    costs = run.federation.state.fusion_state.get("costs", {}) if secure else {}
    return {
        "run": time.perf_counter() - began,
        "round": record.seconds,
        "party": costs.get("seconds", 0.0),
        "neighbours": costs.get("neighbours", 0.0) or count - 1,
        "up": record.bytes_up / count,
        "down": record.bytes_down / count,
        "lost": float(len(record.failures)),
    }


def line(name: str, found: dict[str, float]) -> str:
    """Return a case as a row of a table."""
    return (
        f"| {name} | {found['round']:.2f} s | {1e3 * found['party']:.1f} ms | "
        f"{found['up'] / 1e3:.1f} kB | {found['down'] / 1e3:.1f} kB | {found['lost']:.0f} |"
    )


def main(cases: list[str]) -> None:
    """Print a table: each case plain, masked, and masked with drop-outs."""
    print(*_HEAD, sep="\n", flush=True)
    for case in cases or CASES:
        cohort, _, neighbours = case.partition(":")
        count = int(cohort)
        chosen = count if neighbours == "all" else int(neighbours or 0)
        secure = f"masks:neighbours={chosen + chosen % 2}" if neighbours else "masks"
        print(line(f"{count}, plain", measured(count)), flush=True)
        for words, dropout in (("masks", 0.0), ("masks, 2 % drop out at each step", 0.02)):
            found = measured(count, secure, dropout)
            of = f"{found['neighbours']:.0f} neighbours each"
            print(line(f"{count}, {words}, {of}", found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
