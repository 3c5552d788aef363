"""The least that plain scripts take for the same work, beside ours: bounds of a machine."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.speed import many, ours, peers
from benchmarks.speed.measure import sides
from benchmarks.speed.table import Row
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.types import Update

Arrays = tuple[np.ndarray, np.ndarray]
_CORES = 2
_BLOCK = 131_072


def means(*, repetitions: int, models: int = 10, size: int = 10_000_000) -> list[Row]:
    """Compare our mean with blocked sums in float32 and in float64, and say how exact they are."""
    rng = np.random.default_rng(0)
    rows = [rng.random(size, dtype=np.float32) for _ in range(models)]
    updates = [Update(str(i), {"w": row}, i + 1) for i, row in enumerate(rows)]
    shares = list(range(1, models + 1))
    moved = 4 * size * (models + 1)
    found = sides(
        {
            "triad": lambda: moved / peers.triad(size),
            "ours": lambda: _timed(lambda: weighted_mean(iter(updates), lambda u: u.num_examples)),
            "float32": lambda: _timed(lambda: blocked(rows, shares, np.float32)),
            "float64": lambda: _timed(lambda: blocked(rows, shares, np.float64)),
        },
        repetitions=repetitions,
    )
    common = {"discarded": found.discarded, "is_noisy": found.is_noisy}
    return [
        Row(
            f"weighted mean of {models} x {size / 1e6:g} M float32, {name}: share of triad",
            found.ratio("triad", name),
            detail=f"{1e3 * found.median(name):.0f} ms; {detail}",
            **common,
        )
        for name, detail in {
            "ours": "",
            "float32": f"off by up to {worst(np.float32):.1f} units in the last place",
            "float64": f"off by up to {worst(np.float64):.1f}",
        }.items()
    ]


def blocked(rows: list[np.ndarray], shares: list[int], dtype: Any) -> np.ndarray:
    """Return the mean, summed in blocks by one thread for each of two cores."""
    size, total = len(rows[0]), sum(shares)
    found = np.empty(size, np.float32)
    block = _BLOCK if dtype == np.float32 else 2 * _BLOCK
    starts, lock = iter(range(0, size, block)), threading.Lock()

    def work() -> None:
        sums, scratch = np.empty(block, dtype), np.empty(block, dtype)
        while True:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            part = slice(start, min(start + block, size))
            a, b = sums[: part.stop - start], scratch[: part.stop - start]
            np.copyto(a, rows[0][part])
            a *= dtype(shares[0])
            for row, share in zip(rows[1:], shares[1:], strict=True):
                np.copyto(b, row[part])
                b *= dtype(share)
                a += b
            a /= dtype(total)
            np.copyto(found[part], a, casting="same_kind")

    in_threads(work)
    return found


def worst(dtype: Any, draws: int = 10_000) -> float:
    """Return how far a blocked sum is from the float64 one at most, over draws that are hard.

    In units in the last place, taken at the largest of the summed numbers.
    """
    rng, most = np.random.default_rng(0), 0.0
    for count in (2, 4, 10, 33):
        rows = list((2 - rng.random((count, draws)) * 1e-3).astype(np.float32))
        shares = rng.integers(1, 1000, count).tolist()
        exact = np.average(np.array(rows, np.float64), axis=0, weights=shares)
        unit = np.spacing(np.abs(rows).max(0))
        most = max(most, float((np.abs(blocked(rows, shares, dtype) - exact) / unit).max()))
    return most


def turns(train: Arrays, *, repetitions: int, parties: int = 100) -> list[Row]:
    """Compare our turn without training with copying in and out, one check and one addition."""
    cases: dict[str, Callable[[], float | None]] = {
        "ours": lambda: many.overhead(train, parties=parties, rounds=4)[0].value * parties / 1e3
    }
    for dtype, cores in itertools.product((np.float32, np.float64), (1, _CORES)):
        cases[f"{np.dtype(dtype).name}, {cores} threads"] = lambda dtype=dtype, cores=cores: (
            plain_turns(parties, cores, dtype)
        )
    found = sides(cases, repetitions=repetitions)
    return [
        Row(f"a turn without training, {name}", 1e3 * found.median(name) / parties, unit=" ms")
        for name in cases
    ]


def plain_turns(parties: int, cores: int, dtype: Any, size: int = 1_199_882) -> None:
    """Copy weights in and out, check them, and add them to each thread's own sum, which is in no
    party order.
    """
    weights = np.random.default_rng(0).random(size, dtype=np.float32)
    counter, lock = iter(range(parties)), threading.Lock()

    def work() -> None:
        model, buffer = np.empty_like(weights), np.empty_like(weights)
        total, scratch = np.zeros(size, dtype), np.empty(_BLOCK, dtype)
        while True:
            with lock:
                if next(counter, None) is None:
                    return
            np.copyto(model, weights)
            np.copyto(buffer, model)
            assert np.isfinite(np.dot(buffer, buffer))
            for start in range(0, size, _BLOCK):
                part = slice(start, min(start + _BLOCK, size))
                np.copyto(scratch[: part.stop - start], buffer[part])
                total[part] += scratch[: part.stop - start]

    in_threads(work, cores)


def growth(*, repetitions: int, num_rows: int = 3_000) -> list[Row]:
    """Compare the time of each row for many parties of 3 rows and for 10, ours and plain loops'."""
    rng = np.random.default_rng(0)
    x, y = rng.random((num_rows, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, num_rows)
    few, most = 10, num_rows // 3

    def own(parties: int) -> float:
        options = {"batch_size": 3, "engine": "local", "lr": 0.01, "rounds": 1}
        done = ours.run(peers.cnn(0), (x, y), (x, y), parties=parties, **options)
        return done.records[0].seconds

    ways: dict[str, Callable[[int], float | None]] = {
        "ours": own,
        "plain, sums in float32": lambda count: plain_round((x, y), count, torch.float32),
        "plain, sums in float64": lambda count: plain_round((x, y), count, torch.float64),
    }
    found = sides(
        {
            f"{way} {count}": lambda way=way, count=count: ways[way](count)
            for way in ways
            for count in (few, most)
        },
        repetitions=repetitions,
    )
    return [
        Row(
            f"{most:,} parties over {few}, {way}: time for each row",
            found.ratio(f"{way} {most}", f"{way} {few}"),
            discarded=found.discarded,
            is_noisy=found.is_noisy,
        )
        for way in ways
    ]


def plain_round(rows: Arrays, parties: int, dtype: torch.dtype) -> None:
    """Train a CNN for parties in steps of 3 rows, as little around them as can be."""
    x, y = torch.from_numpy(rows[0]), torch.from_numpy(rows[1])
    each = len(x) // parties
    weights = [parameter.detach() for parameter in peers.cnn(0).parameters()]
    counter, lock, before = iter(range(parties)), threading.Lock(), torch.get_num_threads()

    def work() -> None:
        torch.set_num_threads(1)
        model = peers.cnn(0).train()
        own = list(model.parameters())
        buffers = [torch.empty_like(array) for array in weights]
        totals = [torch.zeros_like(array, dtype=dtype) for array in weights]
        while True:
            with lock:
                party = next(counter, None)
            if party is None:
                return
            with torch.no_grad():
                torch._foreach_copy_(own, weights)
            for start in range(party * each, (party + 1) * each, 3):
                loss = F.nll_loss(model(x[start : start + 3]), y[start : start + 3])
                gradients = torch.autograd.grad(loss, own)
                with torch.no_grad():
                    torch._foreach_add_(own, gradients, alpha=-0.01)
            with torch.no_grad():
                torch._foreach_copy_(buffers, own)
                for total, array in zip(totals, buffers, strict=True):
                    flat = array.numpy().reshape(-1)
                    assert np.isfinite(np.dot(flat, flat))
                    total.add_(array, alpha=each)

    try:
        in_threads(work)
    finally:
        torch.set_num_threads(before)


def steps(train: Arrays, *, repetitions: int, num_rows: int = 6_000) -> list[Row]:
    """Compare the naive loop of a perceptron with one thread, and with as little around it as can
    be, for batches of 10.
    """
    x, y = torch.from_numpy(train[0][:num_rows]), torch.from_numpy(train[1][:num_rows])
    optimizer = {"make_optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.05)}
    naive = {"epochs": 1, "batch_size": 10, "loss": F.cross_entropy, **optimizer}

    def least() -> None:
        model = peers.mlp(0)
        own = list(model.parameters())
        for index in torch.randperm(len(x)).split(10):
            gradients = torch.autograd.grad(F.cross_entropy(model(x[index]), y[index]), own)
            with torch.no_grad():
                torch._foreach_add_(own, gradients, alpha=-0.05)

    def alone(function: Callable[[], Any]) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            function()
        finally:
            torch.set_num_threads(before)

    def plain() -> None:
        peers.plain_loop(peers.mlp(0), (x.numpy(), y.numpy()), **naive)

    found = sides(
        {"naive": lambda: _timed(plain), "one thread": lambda: alone(plain)}
        | {"least": lambda: alone(least)},
        repetitions=repetitions,
    )
    return [
        Row(f"steps of 10 rows, naive loop over {name}", found.ratio("naive", name), at_most=False)
        for name in ("one thread", "least")
    ]


def in_threads(work: Callable[[], None], cores: int = _CORES) -> None:
    """Run a function in several threads, and wait for them."""
    threads = [threading.Thread(target=work) for _ in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _timed(function: Callable[[], Any]) -> None:
    """Let the result go; the case is timed from outside."""
    function()


def bounds(train: Arrays, *, repetitions: int, quick: bool) -> list[Row]:
    """Return all of these; `quick` with sizes that only show that they run."""
    small: dict[str, Any] = {"size": 10_000} if quick else {}
    return [
        *means(repetitions=repetitions, **small),
        *turns(train, repetitions=repetitions, parties=4 if quick else 100),
        *steps(train, repetitions=repetitions, num_rows=60 if quick else 6_000),
        *growth(repetitions=repetitions, num_rows=60 if quick else 3_000),
    ]
