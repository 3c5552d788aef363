"""How fast the many-party simulation is, beside its peers: `python -m benchmarks.speed [GROUP
...]`.

Prints one table, and writes `benchmarks/results.json` and `benchmarks/results.png`, where groups
that were not named keep what they had. Needs $FUSION_NB_DATA/mnist.npz, and half an hour for all.
`--quick` runs a tiny version of each, and writes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.speed import (
    beside_pfl,
    bounds,
    cnn,
    cold,
    first_result,
    imports,
    keras,
    many,
    notebook,
)
from benchmarks.speed import rounds as long_runs
from benchmarks.speed.table import Row, markdown, save
from fusion_nb.data.image_datasets import Mnist

Arrays = tuple[np.ndarray, np.ndarray]


def groups(quick: bool, times: int = 5) -> dict[str, Callable[[Arrays, Arrays], list[Row]]]:
    """Return what can be measured, by name; each case several times."""
    times = 1 if quick else times
    goals = {(100, 600): (3.3, 5), (1000, 20): (3.6, 6.5)}
    return {
        "cnn": lambda train, test: cnn.training(
            _some(train, 64 if quick else 1000), test, repetitions=times, rounds=1 if quick else 5
        ),
        "evaluation": lambda train, test: cnn.evaluation(
            _some(train, 64 if quick else 1000), test, repetitions=times
        ),
        "mlp": lambda train, test: many.perceptrons(
            train, test, repetitions=times, cases={(20, 20): (None, None)} if quick else goals
        ),
        "pfl": lambda train, test: beside_pfl.rounds(
            train, test, repetitions=times, cases=((20, 20),) if quick else ((100, 600), (1000, 20))
        ),
        "flower": lambda train, test: cold.beside_flower(
            train, test, repetitions=times, cases=cold.QUICK if quick else cold.CASES
        ),
        "mean": lambda train, test: many.mean(
            repetitions=times, size=10_000 if quick else 10_000_000
        ),
        "overhead": lambda train, test: many.overhead(train, parties=4 if quick else 100),
        "keras": lambda train, test: keras.turns(
            train, repetitions=times, rounds=3 if quick else 200
        ),
        "growth": lambda train, test: many.growth(
            *((60, (2, 10)) if quick else (30_000, (10, 100, 1_000, 10_000))), repetitions=times
        ),
        "rounds": lambda train, test: long_runs.many(
            few=20 if quick else 500,
            most=60 if quick else 20_000,
            exported=(5, 20) if quick else (50, 5_000),
        ),
        "first": lambda train, test: first_result.first_result(repetitions=times),
        "bounds": lambda train, test: bounds.bounds(train, repetitions=times, quick=quick),
        "imports": lambda train, test: imports.imports(repetitions=1 if quick else 9),
        "notebook": lambda train, test: [
            *notebook.looking_on(pairs=1 if quick else 3, seconds=2 if quick else 20),
            *notebook.loading(pairs=1 if quick else 15),
            *notebook.first_line(repetitions=1 if quick else 5),
            *notebook.points(rounds=20 if quick else 2000),
        ],
    }


def _some(rows: Arrays, count: int) -> Arrays:
    chosen = np.random.default_rng(0).choice(len(rows[0]), count, replace=False)
    return rows[0][chosen], rows[1][chosen]


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the groups that were named, or all; return what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", choices=[*groups(False), []])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--times", type=int, default=5, help="repetitions of each case")
    given = parser.parse_args(arguments)
    train, test = Mnist().get_data()
    assert test is not None
    if given.quick:
        test = _some(test, 200)
    rows: list[Row] = []
    for name, measure in groups(given.quick, given.times).items():
        if not given.groups or name in given.groups:
            found = measure(train, test)
            print(markdown(found), flush=True)
            rows += found
            everything = rows if given.quick else save(name, found, Path(__file__).parents[1])
    print("\n" + markdown(everything))
    return rows


if __name__ == "__main__":
    main()
