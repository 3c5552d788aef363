"""The CNN of PyTorch's MNIST example over two parties of 500 rows: beside a plain loop, under load,
and evaluated.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.speed import ours, peers
from benchmarks.speed.measure import hog, sides
from benchmarks.speed.table import Row
from fusion_nb.core.process.machine import kept_memory
from fusion_nb.core.schema import DataSchema
from fusion_nb.models.torch.adapter import TorchModel

Arrays = tuple[np.ndarray, np.ndarray]
#: How the runs are made that are to be fast.
FAST = {
    "engine": "local:keep_memory=true",
    "optimizer": "optim.Adadelta",
    "lr": 1.0,
    "batch_size": 32,
}


def training(
    train: Arrays, test: Arrays, *, repetitions: int, rounds: int = 5, epochs: int = 3
) -> list[Row]:
    """Compare a federation with a plain loop over the same rows and steps, and with itself beside a
    busy process.
    """
    accuracies: dict[str, list[float]] = {"plain": [], "naive": [], "float32": [], "bf16": []}
    halves = [
        (train[0][part], train[1][part]) for part in np.array_split(np.arange(len(train[0])), 2)
    ]
    own = {
        "batch_size": 32,
        "make_optimizer": lambda parameters: torch.optim.Adadelta(parameters, lr=1.0),
        "loss": torch.nn.functional.nll_loss,
    }

    def peer(name: str, train_it: Callable[[], torch.nn.Module]) -> float:
        torch.manual_seed(0)
        started = time.perf_counter()
        model = train_it()
        took = time.perf_counter() - started
        accuracies[name].append(peers.accuracy(model, test))
        return took

    def federated(precision: str) -> float:
        done = ours.run(
            peers.cnn(0),
            train,
            test,
            parties=2,
            rounds=rounds,
            epochs=epochs,
            precision=precision,
            **FAST,
        )
        accuracies[precision].append(peers.accuracy(done.model, test))
        return sum(record.seconds for record in done.records)

    timed: dict[str, Callable[[], float | None]] = {
        "plain": lambda: peer(
            "plain", lambda: peers.plain_loop(peers.cnn(0), train, epochs=rounds * epochs, **own)
        ),
        "naive": lambda: peer(
            "naive",
            lambda: peers.naive_fedavg(peers.cnn(0), halves, rounds=rounds, epochs=epochs, **own),
        ),
        "float32": lambda: federated("float32"),
        "bf16": lambda: federated("bf16"),
    }
    found = sides(timed, repetitions=repetitions)
    reached = {name: statistics.mean(values) for name, values in accuracies.items()}

    def detail(name: str, beside: str) -> str:
        times = f"{found.median(name):.2f} s against {found.median(beside):.2f} s"
        return f"{times}; accuracy {reached[name]:.4f} against {reached[beside]:.4f}"

    common = {"discarded": found.discarded, "is_noisy": found.is_noisy}
    rows = [
        Row(
            f"CNN, {name}, over a plain loop", found.ratio(name, "plain"), reach, stretch,
            detail=detail(name, "plain"), **common,
        )
        for name, reach, stretch in (("float32", 0.72, 0.60), ("bf16", 0.45, 0.38))
    ]  # fmt: skip
    rows.append(
        Row(
            "CNN, naive FedAvg over a plain loop",
            found.ratio("naive", "plain"),
            detail=detail("naive", "plain"),
        )
    )

    def beside_a_hog(case: Callable[[], float | None]) -> float | None:
        with hog():
            return case()

    loaded = sides(
        {
            "quiet": timed["float32"],
            "loaded": lambda: beside_a_hog(timed["float32"]),
        },
        repetitions=repetitions,
    )
    times = f"{loaded.median('loaded'):.2f} s against {loaded.median('quiet'):.2f} s"
    # One pass, since its two threads may wait for each other for minutes.
    one_pass = beside_a_hog(
        lambda: peer("plain", lambda: peers.plain_loop(peers.cnn(0), train, epochs=1, **own))
    )
    share = (one_pass or 0.0) / (found.median("plain") / (rounds * epochs))
    rows.append(
        Row(
            "CNN beside a busy process, over quiet", loaded.ratio("loaded", "quiet"), 1.8, 1.5,
            detail=f"{times}; a pass of the plain loop beside it takes {share:.1f} times its "
                   "quiet time",
            discarded=loaded.discarded, is_noisy=loaded.is_noisy,
        )
    )  # fmt: skip
    return rows


def evaluation(train: Arrays, test: Arrays, *, repetitions: int, epochs: int = 3) -> list[Row]:
    """Compare the evaluation of the test set, in both precisions, with a round of training in
    float32.
    """

    def trained() -> float:
        return (
            ours.run(peers.cnn(0), train, test, parties=2, rounds=2, epochs=epochs, **FAST)
            .records[0]
            .seconds
        )

    def evaluated(precision: str) -> float:
        model = TorchModel(peers.cnn(0), precision=precision)
        model.check(
            (train[0][:32], train[1][:32]), DataSchema.of(train), lr=1.0, optimizer="optim.Adadelta"
        )
        with kept_memory():
            model.evaluate(test)
            started = time.perf_counter()
            model.evaluate(test)
            return time.perf_counter() - started

    cases: dict[str, Callable[[], float | None]] = {
        "round": trained,
        "float32": lambda: evaluated("float32"),
        "bf16": lambda: evaluated("bf16"),
    }
    found = sides(cases, repetitions=repetitions)
    return [
        Row(
            f"evaluation of {len(test[0]):,} rows, {precision}, over a round",
            found.ratio(precision, "round"),
            reach,
            detail=f"{found.median(precision):.2f} s against {found.median('round'):.2f} s",
            discarded=found.discarded,
            is_noisy=found.is_noisy,
        )
        for precision, reach in (("float32", 0.88), ("bf16", 0.33))
    ]
