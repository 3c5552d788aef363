"""What the notebook costs: the live chart and panel beside a run without them, and loading the
extension.
"""

from __future__ import annotations

import re

from benchmarks import load, panel
from benchmarks.speed.table import Row


def looking_on(*, pairs: int, rounds: int = 30, epochs: int = 100) -> list[Row]:
    """Compare a run that a panel shows in a real kernel with one that nobody looks at."""
    line = panel.lines(((4, rounds, epochs),), pairs)[0]
    found = re.search(
        r"rounds: (\S+) s without a panel, (\S+) s with one, ratio (\S+); drawing (\S+)%", line
    )
    assert found, line
    without, beside, ratio, share = map(float, found.groups())
    detail = f"{beside:.1f} s against {without:.1f} s; drawing {share:.1f} % of the time"
    return [Row(f"chart and panel on over off, {rounds} rounds", ratio, 1.05, 1.02, detail=detail)]


def loading(*, pairs: int) -> list[Row]:
    """Take what `%load_ext fusion_nb` adds to the start of IPython."""
    bare, loaded, more = load.added(pairs)
    detail = f"{1e3 * loaded:.0f} ms against {1e3 * bare:.0f} ms"
    return [
        Row("%load_ext fusion_nb, over bare IPython", 1e3 * more, 50, 15, unit=" ms", detail=detail)
    ]
