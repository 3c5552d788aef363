"""What the notebook costs: chart and panel beside a run without them, loading the extension, the
first line of a cell, and new points of the chart.
"""

from __future__ import annotations

import statistics
import time

from jupyter_client.manager import start_new_kernel

from benchmarks import chart, load
from benchmarks.speed.table import Row

_SHOWN = ("display_data", "update_display_data", "stream", "execute_result")
_BODY = (
    "from torch import nn\n"
    "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))"
)
_CELLS = {
    "a bare cell": "print(1)",
    "a %%fusion cell": f"%%fusion --data digits --parties 4 --rounds 1 --lr 0.05\n{_BODY}",
}
_BEFORE = {
    "torch not imported": "%load_ext fusion_nb",
    "torch imported": "%load_ext fusion_nb\nimport torch",
}
_POINTS = """
import statistics, time
from dataclasses import replace
import numpy as np
from torch import nn
from fusion_nb import federate
from fusion_nb.notebook.chart import RunChart
rng = np.random.default_rng(0)
rows = rng.random((400, 4), dtype=np.float32), rng.integers(0, 2, 400)
run = federate(nn.Linear(4, 2), rows, parties=8, rounds=2, lr=0.01)
chart, history, taken = RunChart(), run.federation.history, []
chart.follow(run)
for number in range(3, {rounds} + 3):
    history.append(replace(history[-1], round=number))
    started = time.thread_time()
    chart.send_new()
    taken.append(time.thread_time() - started)
print(statistics.median(taken))
"""


def looking_on(*, pairs: int, seconds: float) -> list[Row]:
    """Compare runs that a chart, or a panel, shows in a real kernel with ones that none does."""
    kernel = chart.Kernel()
    try:
        rate = chart.rate(kernel)
        found = chart.costs(kernel, max(2, round(rate * seconds)), pairs=pairs)
        length, stretch = round(rate * 3 * seconds), round(rate * min(chart.STRETCH, seconds / 4))
        shown = [kernel.in_turn(cost.way, 4, length, stretch) for cost in found]
    finally:
        kernel.close()
    rows = []
    for cost, ratio in zip(found, shown, strict=True):
        detail = (
            f"{cost.spent:.1%} of the processor; whole runs of {seconds:g} s with it over those "
            f"without {cost.clock:.3f}, by the processor's time {cost.processor:.3f}"
        )
        name = f"{cost.way}: rounds that are shown over others of one run"
        rows.append(Row(name, ratio, 1.05, 1.02, detail=detail))
    return rows


def loading(*, pairs: int) -> list[Row]:
    """Take what `%load_ext fusion_nb` adds to the start of IPython."""
    bare, loaded, more = load.added(pairs)
    detail = f"{1e3 * loaded:.0f} ms against {1e3 * bare:.0f} ms"
    return [
        Row("%load_ext fusion_nb, over bare IPython", 1e3 * more, 50, 15, unit=" ms", detail=detail)
    ]


def first_line(*, repetitions: int) -> list[Row]:
    """Take the seconds from sending a cell to what it shows first, in fresh kernels.

    The first message with anything to see counts, as a front end gets it.
    """
    rows = []
    for state, before in _BEFORE.items():
        taken = {
            name: statistics.median(_until_shown(before, cell) for _ in range(repetitions))
            for name, cell in _CELLS.items()
        }
        bare, fused = taken.values()
        detail = f"{1e3 * fused:.0f} ms against {1e3 * bare:.0f} ms of a bare cell"
        name = f"first line of a %%fusion cell in a fresh kernel, {state}"
        rows.append(Row(name, fused, 0.3, unit=" s", detail=detail))
    return rows


def _until_shown(before: str, cell: str) -> float:
    manager, client = start_new_kernel(extra_arguments=["--log-level=ERROR"])
    try:
        client.execute_interactive(before, timeout=600)
        started = time.perf_counter()
        # A front end that can ask for input is taken for one that draws widgets.
        sent = client.execute(cell, allow_stdin=True)
        while True:
            message = client.get_iopub_msg(timeout=600)
            is_own = message["parent_header"].get("msg_id") == sent
            if is_own and message["msg_type"] in _SHOWN:
                return time.perf_counter() - started
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def points(*, rounds: int) -> list[Row]:
    """Take the time of the training thread in which it sends one round of eight parties."""
    manager, client = start_new_kernel(extra_arguments=["--log-level=ERROR"])
    printed: list[str] = []
    try:
        client.execute_interactive(
            _POINTS.format(rounds=rounds),
            timeout=600,
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    taken = float("".join(printed).split()[-1])
    return [
        Row("chart: a round's points, time of the training thread", 1e3 * taken, 0.2, unit=" ms")
    ]
