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
from dataclasses import dataclass

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
rounds = []  # the time at the end of each round

def in_turn(owner, name, ends_round):
    do = getattr(owner, name)
    def gated(self, *args):
        told = args[0]
        if not stretch or (ends_round and told.status != "running"):
            return do(self, *args)
        if ends_round and len(told.records) > len(rounds):
            rounds.append(time.perf_counter())
        if (len(rounds) - 1) // stretch % 2 == 0:
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
#: The ways that show something.
LOOKING = ("chart", "panel")
#: Seconds of the run in which some rounds are shown and as many are not, in turn, and of one such
#: stretch: long beside the pauses between two texts, since each begins with one.
IN_TURN, STRETCH = 60.0, 2.0


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
        before, cell = filled(way, parties, rounds)
        self.run(before)
        self.run("spent = 0.0\nbegan = time.perf_counter(), time.process_time()")
        self.run(cell)
        ended = self.run(
            "print(time.perf_counter() - began[0], time.process_time() - began[1], spent)"
        )
        clock, processor, spent = map(float, ended.split()[-3:])
        return clock, processor, spent

    def in_turn(self, way: str, parties: int, rounds: int, stretch: int) -> float:
        """Return the time of rounds that are shown over that of ones that are not, in one run.

        stretch: rounds that are shown, and as many that are not, in turn
        """
        before, cell = filled(way, parties, rounds)
        self.run(before)
        self.run(f"stretch = {stretch}\nrounds.clear()")
        self.run(cell)
        ends = json.loads(self.run("import json\nprint(json.dumps(rounds))\nstretch = 0"))
        took = [end - start for start, end in itertools.pairwise(ends[::stretch])]
        # Each stretch that is shown beside the two around it: the machine's speed drifts.
        return statistics.median(
            2 * took[i] / (took[i - 1] + took[i + 1]) for i in range(2, len(took) - 1, 2)
        )

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def filled(way: str, parties: int, rounds: int) -> list[str]:
    """Return the two cells of a way to look at a run."""
    options = OPTIONS.format(parties=parties, rounds=rounds)
    return [each.format(options=options, parties=parties, rounds=rounds) for each in WAYS[way]]


@dataclass(frozen=True)
class Cost:
    """What a way to look at a run costs.

    clock, processor: whole runs with it over those without, by either time
    spent: the share of the processor's time that goes into chart and status
    """

    way: str
    rounds: int
    clock: float
    processor: float
    spent: float


def costs(kernel: Kernel, rounds: int, parties: int = 4, pairs: int = PAIRS) -> list[Cost]:
    """Return the cost of each way to look at runs of so many rounds."""
    times: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    for turn in range(pairs):
        first = turn % len(WAYS)
        # Each way comes first in turn: what was run before may help or hinder the next.
        for way in [*WAYS][first:] + [*WAYS][:first]:
            times[way].append(kernel.seconds(way, parties, rounds))
    found = []
    for way in LOOKING:
        clock, processor = (
            statistics.median(
                shown[part] / bare[part]
                for shown, bare in zip(times[way], times["bare"], strict=True)
            )
            for part in (0, 1)
        )
        spent = statistics.median(spent / used for _, used, spent in times[way])
        found.append(Cost(way, rounds, clock, processor, spent))
    return found


def rate(kernel: Kernel, parties: int = 4) -> float:
    """Return the rounds of a second, after a run for what the first one loads."""
    trial = 40
    kernel.seconds("panel", parties, 5)
    return trial / kernel.seconds("bare", parties, trial)[0]


def main(seconds: list[float]) -> None:
    """Print what each way to look at runs of so many seconds costs."""
    kernel = Kernel()
    try:
        each = rate(kernel)
        for length in seconds:
            for cost in costs(kernel, max(2, round(each * length))):
                print(
                    f"{cost.way}, {cost.rounds} rounds, {length:g} s: with over without "
                    f"{cost.clock:.3f} by the clock, {cost.processor:.3f} of the processor; "
                    f"{cost.spent:.1%} of it in chart and status",
                    flush=True,
                )
        for way in LOOKING:
            shown = kernel.in_turn(way, 4, round(each * IN_TURN), round(each * STRETCH))
            print(f"{way}: rounds that are shown over others of one run {shown:.3f}", flush=True)
    finally:
        kernel.close()


if __name__ == "__main__":
    main([float(word) for word in sys.argv[1:]] or [5.0, 60.0])
