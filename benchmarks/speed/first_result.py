"""From an imported PyTorch to a first result: FedAvg as tutorials write it beside ours."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.speed.measure import sides
from benchmarks.speed.table import Row

_BEFORE = """
import time, numpy as np, torch
from torch import nn
rng = np.random.default_rng(0)
x, y = rng.random((800, 64), dtype=np.float32), rng.integers(0, 10, 800)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
started = time.perf_counter()
"""
_SIDES = {
    "tutorial": """
from benchmarks.speed import peers
parts = [(x[part], y[part]) for part in np.array_split(np.arange(len(y)), 4)]
peers.naive_fedavg(
    model, parts, rounds=2, epochs=1, batch_size=32, fraction=1.0,
    make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    loss=nn.functional.cross_entropy, on_round=lambda *_: None,
)
""",
    "ours": """
import fusion_nb
fusion_nb.federate(model, (x, y), parties=4, rounds=2, batch_size=32, lr=0.05)
""",
}
_AFTER = "print(time.perf_counter() - started)"


def first_result(*, repetitions: int) -> list[Row]:
    """Compare fresh processes in which PyTorch is imported already, plain SGD, four parties."""
    found = sides(
        {name: lambda code=code: _seconds(code) for name, code in _SIDES.items()},
        repetitions=repetitions,
    )
    detail = f"{found.median('ours'):.2f} s against {found.median('tutorial'):.2f} s"
    name = "from `import torch` to the result: ours over a FedAvg as tutorials write it"
    return [
        Row(name, found.ratio("ours", "tutorial"), 1.0, detail=detail,
            discarded=found.discarded, is_noisy=found.is_noisy)
    ]  # fmt: skip


def _seconds(code: str) -> float:
    line = [sys.executable, "-c", _BEFORE + code + _AFTER]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])
