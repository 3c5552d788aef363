"""The cost of a chart: the same run with and without, in one kernel: `python -m benchmarks.chart`.

A real kernel that talks to a client, as in JupyterLab, which stands for a browser that has drawn a
chart before. Pairs of runs in turn, each in a cell of its own: without a chart but with the result
at the end; with the chart, as `%%fusion` shows it; and in a panel. Whole runs differ by more than a
chart costs, so one more run of each way is shown for some rounds and not for as many, in turn. The
browser is not measured: it works on another core, or on another machine.
`python -m benchmarks.chart SECONDS ...` measures runs of so many seconds, by default 5 and 60.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys

from jupyter_client.manager import start_new_kernel

PREPARE = """
import time
import torch
from torch import nn
import fusion_nb
%load_ext fusion_nb
torch.set_num_threads(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
from fusion_nb.notebook.chart import RunChart
RunChart.was_answered = True  # or pictures are drawn, as for a page without the widget
from fusion_nb.notebook.live import LiveView
from fusion_nb.notebook.panel.run_view import RunView
spent = 0.0

def count(owner, name, sign=1):
    do = getattr(owner, name)
    def counted(*args):
        global spent
        began = time.thread_time()
        try:
            return do(*args)
        finally:
            spent += sign * (time.thread_time() - began)
    setattr(owner, name, counted)

count(LiveView, "__call__")
count(LiveView, "_end", -1)  # the result, which a run without a chart has too
count(RunView, "_update")
count(RunView, "_receive")

stretch = 0  # rounds that are shown, and as many that are not; 0: all are shown
rounds = []  # the time at the end of each round, and whether the next ones are shown

def in_turn(owner, name, ends_round):
    do = getattr(owner, name)
    def gated(self, *args):
        told = args[0]
        if not stretch or (ends_round and told.status != "running"):
            return do(self, *args)
        if ends_round and len(told.records) > len(rounds):
            rounds.append((time.perf_counter(), len(rounds) // stretch % 2 == 0))
        if rounds and rounds[-1][1]:
            return do(self, *args)
    setattr(owner, name, gated)

in_turn(LiveView, "__call__", True)
in_turn(RunView, "_update", True)
in_turn(RunView, "_receive", False)
"""
OPTIONS = "--parties {parties} --lr 0.05 --rounds {rounds} --name run"
#: For each way to look at a run a cell that comes before, and one before which and after which the
#: processor's time is read.
WAYS = {
    "bare": ("", "%fusion run {options} --quiet\ndisplay(run)"),
    "chart": ("", "%fusion run {options}"),
    "panel": (
        "panel = fusion_nb.Panel(parties={parties}, lr=0.05, rounds={rounds})\n"
        "panel._ipython_display_()",
        "panel.start()\npanel.wait()",
    ),
}
#: Runs of each way, in turn.
PAIRS = 3
#: Rounds that are shown, and as many that are not, in turn.
STRETCH = 20


class Kernel:
    """A kernel whose cells are timed."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel(extra_arguments=["--log-level=ERROR"])
        self.run(PREPARE)

    def run(self, code: str) -> str:
        """Run a cell, and return what it printed."""
        printed: list[str] = []

        def hear(message: dict) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                printed.append(content["text"])
            elif message["msg_type"] == "error":
                sys.exit("\n".join(content["traceback"]))

        # A front end that can ask for input is taken for one that draws widgets.
        self.client.execute_interactive(
            code, allow_stdin=True, stdin_hook=lambda _: None, timeout=1800, output_hook=hear
        )
        return "".join(printed)

    def seconds(self, way: str, parties: int, rounds: int) -> tuple[float, float, float]:
        """Return the seconds of a run by the clock, those of the processor, and of these the ones
        that went into chart and status.
        """
        options = OPTIONS.format(parties=parties, rounds=rounds)
        before, cell = (
            each.format(options=options, parties=parties, rounds=rounds) for each in WAYS[way]
        )
        self.run(before)
        self.run("spent = 0.0\nbegan = time.perf_counter(), time.process_time()")
        self.run(cell)
        ended = self.run(
            "print(time.perf_counter() - began[0], time.process_time() - began[1], spent)"
        )
        clock, processor, spent = map(float, ended.split()[-3:])
        return clock, processor, spent

    def in_turn(self, way: str, parties: int, rounds: int) -> float:
        """Return the time of a round that is shown over that of one that is not, in one run."""
        options = OPTIONS.format(parties=parties, rounds=rounds)
        before, cell = (
            each.format(options=options, parties=parties, rounds=rounds) for each in WAYS[way]
        )
        self.run(before)
        self.run(f"stretch = {STRETCH}\nrounds.clear()")
        self.run(cell)
        ends = json.loads(self.run("import json\nprint(json.dumps(rounds))\nstretch = 0"))
        starts = [ended for ended, _ in ends[::STRETCH]]
        took = [end - start for start, end in itertools.pairwise(starts)]
        # Each stretch that is shown beside the two around it: the machine's speed drifts.
        return statistics.median(
            2 * took[i] / (took[i - 1] + took[i + 1]) for i in range(2, len(took) - 1, 2)
        )

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def lines(seconds: list[float], parties: int = 4, pairs: int = PAIRS) -> list[str]:
    """Return one line for each length of a run and each way to look at it."""
    kernel = Kernel()
    try:
        kernel.seconds("chart", parties, 5)  # what the first run loads
        trial = 40
        rate = trial / kernel.seconds("bare", parties, trial)[0]
        found = []
        for length in seconds:
            rounds = max(2, round(rate * length))
            times = {way: [] for way in WAYS}
            for turn in range(pairs):
                first = turn % len(WAYS)
                # Each way comes first in turn: what was run before may help or hinder the next.
                for way in [*WAYS][first:] + [*WAYS][:first]:
                    times[way].append(kernel.seconds(way, parties, rounds))
            for way in ("chart", "panel"):
                ratios = [
                    statistics.median(
                        shown[part] / bare[part]
                        for shown, bare in zip(times[way], times["bare"], strict=True)
                    )
                    for part in (0, 1)
                ]
                share = statistics.median(spent / used for _, used, spent in times[way])
                in_turn = kernel.in_turn(way, parties, rounds)
                found.append(
                    f"{way}, {rounds} rounds of {parties} parties, {length:g} s: with over without "
                    f"{ratios[0]:.3f} by the clock, {ratios[1]:.3f} of the processor; "
                    f"{share:.1%} of it in chart and status; rounds that are shown over others "
                    f"{in_turn:.3f}"
                )
        return found
    finally:
        kernel.close()


if __name__ == "__main__":
    for line in lines([float(word) for word in sys.argv[1:]] or [5.0, 60.0]):
        print(line)
