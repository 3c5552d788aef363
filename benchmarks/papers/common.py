"""What the papers' scripts share: the data, a row of the table, the command line."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from fusion_nb.data.image_datasets import Mnist
from fusion_nb.runs.run import Run

Arrays = tuple[np.ndarray, np.ndarray]

#: What `--quick` leaves of MNIST.
_QUICK_TRAIN, _QUICK_TEST = 1000, 500


@dataclass(frozen=True)
class Setup:
    """MNIST, whether a small version is wanted, the seed of everything random, and rounds (0: as
    published).

    Only cases that end after a fixed number of rounds, and take long, look at `rounds`.
    """

    train: Arrays
    test: Arrays
    quick: bool = False
    seed: int = 0
    rounds: int = 0


@dataclass(frozen=True)
class Figure:
    """A number of a case, and how it is written. value: None for a goal that was not reached.

    >>> print(Figure(0.98765, ".1%"), Figure(12, ".0f", " s", "fused "), Figure(None))
    98.8% fused 12 s not reached
    """

    value: float | None
    digits: str = ".0f"
    unit: str = ""
    name: str = ""

    def __str__(self) -> str:
        return self.name + self.written(self.value)

    def written(self, value: float | None) -> str:
        """Return another value of this figure as text."""
        return "not reached" if value is None else f"{value:{self.digits}}{self.unit}"


@dataclass(frozen=True)
class Row:
    """A row of the table. ok: whether the figures are accepted; None for ones that are only shown.

    figures: in the order in which `published` has them
    """

    case: str
    published: str
    figures: tuple[Figure, ...]
    accepted: str
    ok: bool | None
    seconds: float = 0.0

    @property
    def here(self) -> str:
        """The figures as text."""
        return ", ".join(map(str, self.figures))


Case = Callable[[Setup], Row]


def mnist(quick: bool = False, seed: int = 0) -> Setup:
    """Return MNIST as (N, 1, 28, 28) in [0, 1]; its first rows alone if quick."""
    train, test = Mnist().get_data()
    assert test is not None
    if quick:
        train, test = (
            (train[0][:_QUICK_TRAIN], train[1][:_QUICK_TRAIN]),
            (test[0][:_QUICK_TEST], test[1][:_QUICK_TEST]),
        )
    return Setup(train, test, quick, seed)


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a module whose first weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def reached(run: Run, goal: float) -> int | None:
    """Return the first round after which the test accuracy was the goal or more, or None."""
    return next(
        (record.round for record in run.history if record.metrics.get("accuracy", 0.0) >= goal),
        None,
    )


def rows(setup: Setup, cases: Mapping[str, Case], names: list[str] | None = None) -> list[Row]:
    """Run the cases of these names, or all; print each row when it is there, and return them."""
    found = []
    for name in names or cases:
        started = time.perf_counter()
        row = replace(cases[name](setup), seconds=time.perf_counter() - started)
        found.append(replace(row, ok=None) if setup.quick else row)
        print(f"{row.case}: {row.here} (published {row.published}; accepted {row.accepted}), "
              f"{row.seconds:.0f} s",
              flush=True)  # fmt: skip
    return found


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    words = {True: "yes", False: "**no**", None: ""}
    lines = ["| case | published | here | accepted | ok? | seconds |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = (
            row.case,
            row.published,
            row.here,
            row.accepted,
            words[row.ok],
            f"{row.seconds:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    doc: str | None, cases: Mapping[str, Case], arguments: list[str] | None = None
) -> list[Row]:
    """Run the cases that were named on the command line, or all; print the table and return its
    rows.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "cases", nargs="*", choices=[*cases, []], metavar="ALGORITHM", help=", ".join(cases)
    )
    parser.add_argument(
        "--quick", action="store_true", help="a small version in seconds; its figures say nothing"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rounds", type=int, default=0, help="fewer than published, for niid_bench"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of PyTorch (default: its own choice)"
    )
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    found = rows(replace(mnist(given.quick, given.seed), rounds=given.rounds), cases, given.cases)
    print(f"\n{table(found)}")
    return found
