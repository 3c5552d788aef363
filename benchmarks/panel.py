"""The cost of looking on: the same run with a panel and without, in one kernel: `python -m
benchmarks.panel`.

A real kernel that talks to a client, as in JupyterLab. Pairs of runs in turn; and, by its own
clock, the share of a run's time that goes into drawing, which is what `live.Throttle` keeps under 5
%.
"""

from __future__ import annotations

import sys

from jupyter_client.manager import start_new_kernel

SCRIPT = """
import statistics, time
import torch
from torch import nn
import fusion_nb
from fusion_nb.notebook.panel.run_view import RunView
torch.set_num_threads(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
drawn = 0.0

def timed(draw):
    def wrapper(*args):
        global drawn
        started = time.perf_counter()
        try:
            return draw(*args)
        finally:
            drawn += time.perf_counter() - started
    return wrapper

for name in ("_update", "_receive"):
    setattr(RunView, name, timed(getattr(RunView, name)))

def bare(spec):
    started = time.perf_counter()
    fusion_nb.Run(spec, globals()).start().wait()
    return time.perf_counter() - started

def watched(spec):
    global drawn
    panel = fusion_nb.Panel(**spec.model_dump(exclude_unset=True))
    panel._ipython_display_()
    started, drawn = time.perf_counter(), 0.0
    panel.start()
    panel.wait()
    took = time.perf_counter() - started
    return took, drawn / took

for parties, rounds, epochs in {cases}:
    spec = fusion_nb.RunSpec(parties=parties, rounds=rounds, epochs=epochs, lr=0.05)
    bare(spec.model_copy(update={{"rounds": 3}}))
    pairs = [(bare(spec), *watched(spec)) for _ in range({pairs})]
    without, beside, share = (statistics.median(column) for column in zip(*pairs))
    ratio = statistics.median(w / b for b, w, _ in pairs)
    print(f"{{parties}} parties, {{rounds}} rounds: {{without:.1f}} s without a panel, "
          f"{{beside:.1f}} s with one, ratio {{ratio:.3f}}; drawing {{share:.1%}} of the time")
"""


#: (parties, rounds, epochs)
CASES = ((4, 1000, 1), (100, 250, 1))


def main(cases: tuple[tuple[int, int, int], ...] = CASES, pairs: int = 3) -> None:
    """Print times, their ratio and the share of drawing, for few and for many parties."""
    for line in lines(cases, pairs):
        print(line)


def lines(cases: tuple[tuple[int, int, int], ...], pairs: int) -> list[str]:
    """Return one line for each case."""
    printed: list[str] = []

    def hear(message: dict) -> None:
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            printed.append(content["text"])
        elif message["msg_type"] == "error":
            sys.exit("\n".join(content["traceback"]))

    manager, client = start_new_kernel()
    try:
        client.execute_interactive(
            SCRIPT.format(cases=cases, pairs=pairs),
            allow_stdin=True,
            timeout=1200,
            output_hook=hear,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return "".join(printed).splitlines()


if __name__ == "__main__":
    main()
