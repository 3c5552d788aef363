"""The tables of README.md, from stored results."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks.papers.cases import CASES, seeds
from benchmarks.papers.common import Figure
from benchmarks.papers.results import Results, figures
from fusion_nb.runs.experiments.statistics import spread

README = Path(__file__).with_name("README.md")
#: Heads of the two tables, by the word of their marks in README.md.
_HEADS = {
    "papers": "| case | published | here | seeds | accepted |",
    "estimators": "| case | plain loop | here | seeds | accepted |",
}


def table(results: Results, which: str) -> str:
    """Return one of the tables as Markdown.

    which: papers, or estimators
    """
    names = [case for case in CASES if case.startswith("estimators.") == (which == "estimators")]
    lines = [_HEADS[which], "|---|---|---|---|---|"]
    return "\n".join([*lines, *(_line(case, results) for case in names)])


def _line(case: str, results: Results) -> str:
    stored, num_seeds = results.of(case), len(seeds(case))
    if not stored:
        return f"| `{case}` | – | not run yet | 0 of {num_seeds} | – |"
    found = list(stored["seeds"].values())
    count = f"{len(found)}" + f" of {num_seeds}" * (len(found) < num_seeds)
    refused = sum(result["ok"] is False for result in found)
    count += f", {refused} not accepted" * bool(refused)
    count += ", of an earlier version" * any(not result["code"] for result in found)
    cells = (
        f"{stored['case']} (`{case}`)",
        stored["published"],
        ", ".join(_mean(figure, values) for figure, values in figures(stored)),
        count,
        stored["accepted"],
    )
    return f"| {' | '.join(cells)} |"


def _mean(figure: Figure, values: Iterable[float | None]) -> str:
    """Return the mean over seeds with its 95 % interval, of those that reached the goal.

    >>> _mean(Figure(None, ".1f", " %"), [1.0, 3.0, None])
    '2.0 % (1.0 to 3.0), of 2 of 3 seeds'
    """
    every = list(values)
    reached = [value for value in every if value is not None]
    if not reached:
        return f"{figure.name}not reached"
    over = spread(reached, "bootstrap")
    text = figure.name + figure.written(over.mean)
    if len(set(reached)) > 1:
        text += f" ({over.low:{figure.digits}} to {over.high:{figure.digits}})"
    return text + (f", of {len(reached)} of {len(every)} seeds" * (len(reached) < len(every)))


def write(results: Results, path: Path = README) -> None:
    """Put the tables between their marks in README.md."""
    text = path.read_text(encoding="utf-8")
    for which in _HEADS:
        mark = rf"(<!-- {which}: python -m benchmarks\.papers --table -->\n).*?(<!-- end -->)"
        made = f"\\g<1>{_escaped(table(results, which))}\n\\g<2>"
        text = re.sub(mark, made, text, flags=re.DOTALL)
    path.write_text(text, encoding="utf-8")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\")
