"""Many parties: small networks beside the naive loop, what a turn costs besides training, and how
cost grows.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.speed import ours, peers
from benchmarks.speed.measure import peak_memory, sides
from benchmarks.speed.table import Row
from fusion_nb.algorithms.fusions.averaging import fedavg
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.federation import Federation, FederationConfig
from fusion_nb.core.party import Party
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import TrainingResult, Update
from fusion_nb.engines.local import LocalEngine
from fusion_nb.models.torch.adapter import TorchModel

Arrays = tuple[np.ndarray, np.ndarray]
_SGD = {"batch_size": 10, "lr": 0.05}
_ENGINES = ("auto", "vectorized", "local", "process")


def perceptrons(
    train: Arrays, test: Arrays, *, repetitions: int, cases: Mapping[tuple[int, int], Any]
) -> list[Row]:
    """Compare the steady round of each engine with that of the naive loop.

    cases: (parties, rows of each) -> (reach, stretch) for the speed-up
    """
    rows: list[Row] = []
    for (parties, each), (reach, stretch) in cases.items():
        own = _rows(train, parties * each)
        split = [
            (own[0][part], own[1][part])
            for part in np.array_split(np.arange(parties * each), parties)
        ]

        def naive(split: list[Arrays] = split) -> float:
            seconds: list[float] = []
            peers.naive_fedavg(
                peers.mlp(0),
                split,
                rounds=5,
                epochs=1,
                batch_size=10,
                make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
                loss=torch.nn.functional.cross_entropy,
                fraction=0.1,
                on_round=lambda _, took: seconds.append(took),
            )
            return statistics.median(seconds[1:])

        def of(engine: str, own: Arrays = own, parties: int = parties) -> float:
            done = ours.run(
                peers.mlp(0),
                own,
                test,
                parties=parties,
                rounds=6,
                fraction=0.1,
                engine=engine,
                **_SGD,
            )
            # Without the first round, which sets up, and the last, which is measured.
            return statistics.median(record.seconds for record in done.records[1:-1])

        timed: dict[str, Callable[[], float | None]] = {"naive": naive}
        timed |= {e: lambda e=e: of(e) for e in _ENGINES}
        found = sides(timed, repetitions=repetitions)
        for engine in _ENGINES:
            goals = (reach, stretch) if engine in ("auto", "vectorized") else (1.8, None)
            goals = (None, None) if engine == "process" else goals
            rows.append(
                Row(
                    f"MLP {parties} x {each}, {engine}: speed-up over naive FedAvg",
                    found.ratio("naive", engine),
                    *goals,
                    at_most=False,
                    detail=f"{1e3 * found.median('naive'):.0f} ms against "
                    f"{1e3 * found.median(engine):.0f} ms a round",
                    discarded=found.discarded,
                    is_noisy=found.is_noisy,
                )
            )
    return rows


def mean(*, repetitions: int, models: int = 10, size: int = 10_000_000) -> list[Row]:
    """Compare the weighted mean of models with how fast memory is, and with two ways of numpy's."""
    rng = np.random.default_rng(0)
    updates = [
        Update(str(i), {"w": rng.random(size, dtype=np.float32)}, i + 1) for i in range(models)
    ]
    shares = np.arange(1, models + 1) / sum(range(1, models + 1))
    moved = 4 * size * (models + 1)

    def of() -> Any:
        return weighted_mean(iter(updates), lambda update: update.num_examples)

    found = sides(
        {
            "triad": lambda: moved / peers.triad(size),
            "mean": lambda: _none(of()),
            "stack": lambda: _none(
                np.tensordot(shares, np.stack([u.weights["w"] for u in updates]), 1)
            ),
            "average": lambda: _none(
                np.average([u.weights["w"] for u in updates], axis=0, weights=shares)
            ),
        },
        repetitions=repetitions,
    )
    _, grown = peak_memory(of)
    common = {"discarded": found.discarded, "is_noisy": found.is_noisy}
    name = f"weighted mean of {models} x {size / 1e6:g} M float32"
    beside = ", ".join(
        f"{way} {1e3 * found.median(way):.0f} ms" for way in ("mean", "stack", "average")
    )
    return [
        Row(
            f"{name}, share of triad",
            found.ratio("triad", "mean"),
            0.40,
            0.75,
            False,
            detail=beside,
            **common,
        ),
        Row(
            f"{name}, extra memory beside the mean, in models",
            grown / (4 * size) - 1,
            1,
            detail=f"{grown / 1e6:.0f} MB with it",
        ),
    ]


def _none(_: object) -> None:
    """Let a result go; the case is timed from outside."""


class _Idle(TorchModel):
    """A model that does not train."""

    def fit(self, data: Any, **options: Any) -> TrainingResult:
        return TrainingResult(self.get_weights(), {"loss": 1.0}, 1, 0.0)


def overhead(train: Arrays, *, parties: int = 100, rounds: int = 12) -> list[Row]:
    """Take the time of a party's turn in which nothing is trained."""
    model = _Idle(peers.cnn(0))
    model.check((train[0][:8], train[1][:8]), DataSchema.of(train), lr=0.1, optimizer="sgd")
    everyone = [Party(f"party {i}", (train[0][:8], train[1][:8])) for i in range(parties)]
    options = {"epochs": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
    few = (train[0][:8], train[1][:8])
    config = FederationConfig(options, evaluate_every=10**6)
    federation = Federation(everyone, model, fedavg(), LocalEngine(), config, test=few)
    records = list(federation.rounds(rounds))
    federation.close()
    turn = 1e3 * statistics.median(record.seconds for record in records[1:-1]) / parties
    size = sum(array.size for array in model.get_weights().values())
    return [
        Row(
            f"a party's turn without training, {size / 1e6:.1f} M parameters",
            turn,
            1.0,
            0.3,
            unit=" ms",
        )
    ]


def growth(num_rows: int, counts: tuple[int, ...], *, repetitions: int) -> list[Row]:
    """Compare the cost of a round, and the peak of memory, for few and for many parties with the
    same rows in all.
    """
    measured: dict[int, list[dict[str, float]]] = {count: [] for count in counts}

    def case(count: int) -> float:
        line = [sys.executable, "-m", "benchmarks.speed.many", str(num_rows), str(count)]
        printed = subprocess.run(line, check=True, capture_output=True, text=True).stdout
        measured[count].append(json.loads(printed.splitlines()[-1]))
        return measured[count][-1]["seconds"]

    few, many = counts[0], counts[-1]
    found = sides(
        {str(count): lambda count=count: case(count) for count in (few, many)},
        repetitions=repetitions,
    )
    for count in counts[1:-1]:  # for the plot
        case(count)
    seconds = {
        count: statistics.median(each["seconds"] for each in got) for count, got in measured.items()
    }
    points = [
        {
            "parties": count,
            "row_ms": 1e3 * seconds[count] / num_rows,
            "turn_ms": 1e3 * seconds[count] / count,
            "peak_mb": statistics.median(each["peak_mb"] for each in measured[count]),
        }
        for count in counts
    ]
    memory = points[-1]["peak_mb"] / points[0]["peak_mb"]
    detail = ", ".join(
        f"{p['parties']:,}: {1e3 * p['row_ms']:.0f} µs a row, {p['peak_mb']:.0f} MB" for p in points
    )
    common = {"discarded": found.discarded, "is_noisy": found.is_noisy}
    return [
        Row(
            f"{many:,} parties over {few}: time for each row",
            found.ratio(str(many), str(few)),
            1.15,
            detail=detail,
            data={"growth": points},
            **common,
        ),
        Row(f"{many:,} parties over {few}: peak memory", memory, 1.2, detail="of the whole "
                                                                             "process"),
    ]  # fmt: skip


def _rows(train: Arrays, count: int) -> Arrays:
    chosen = np.random.default_rng(0).permutation(len(train[0]))[:count]
    return train[0][chosen], train[1][chosen]


def main() -> None:
    """Print the seconds of a round in which all parties train, and the peak of this process's
    memory, as JSON.
    """
    import resource

    num_rows, parties = map(int, sys.argv[1:])
    rng = np.random.default_rng(0)
    train = rng.random((num_rows, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, num_rows)
    done = ours.run(
        peers.cnn(0), train, train, parties=parties, rounds=1, batch_size=3, engine="local", lr=0.01
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": done.records[0].seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main()
