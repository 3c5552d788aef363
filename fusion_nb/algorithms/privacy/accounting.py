"""Epsilon of Gaussian mechanisms: exact where all take part, and by dp-accounting where sampled."""

from __future__ import annotations

import functools
import importlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from fusion_nb.errors import missing_extra

#: One kind of release: (chance to be in it, noise as a multiple of the sensitivity, how often).
Event = tuple[float, float, int]
Accountant = Literal["pld", "rdp"]

#: Width of the grid of privacy losses. A wider one is faster and rounds epsilon up further.
_FINE, _COARSE, _FEW = 1e-4, 1e-3, 1000
_LARGEST = 1e9


@functools.lru_cache(maxsize=4096)
def epsilon(events: tuple[Event, ...], delta: float, accountant: Accountant = "pld") -> float:
    """Return an upper bound of epsilon for these releases together.

    accountant: "pld" sums up the distributions of the privacy loss, and is exact where no event is
                sampled; "rdp" composes Rényi divergences, and is larger
    Neighbours are as in `Event`: with or without the one whose chance it is. Sampling is Poisson's.
    Raises MissingExtraError where dp-accounting is needed and not installed.
    """
    events = tuple(event for event in events if event[0] > 0 and event[2] > 0)
    if not events:
        return 0.0
    if any(noise == 0 for _, noise, _ in events):
        return math.inf
    if accountant == "pld" and all(chance == 1 for chance, _, _ in events):
        return gaussian_epsilon(math.sqrt(sum(n / noise**2 for _, noise, n in events)), delta)
    return _composed(events, delta, accountant)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return epsilon of a Gaussian mechanism whose noise is the sensitivity over mu.

    It is exact. Source: Balle, Wang, "Improving the Gaussian Mechanism for Differential Privacy",
    ICML 2018 (Theorem 8).
    """
    return _smallest(lambda found: _gaussian_delta(mu, found) <= delta)


def smallest_noise(spent: Callable[[float], float], wanted: float) -> float:
    """Return the smallest noise, rounded up to four digits, whose epsilon is at most `wanted`.

    spent: epsilon of a noise
    """
    low = high = 1.0
    while spent(high) > wanted:  # from above: epsilon of little noise takes long to compute
        low, high = high, 2 * high
        if high > _LARGEST:
            return math.inf
    while low == high or spent(low) <= wanted:
        low, high = low / 2, low
    while high - low > 5e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= wanted else (middle, high)
    found = high
    step = 10.0 ** (math.floor(math.log10(found)) - 3)
    rounded = math.ceil(found / step) * step
    return float(f"{rounded:.4g}")


def _gaussian_delta(mu: float, epsilon: float) -> float:
    above = _log_normal(mu / 2 - epsilon / mu)
    below = epsilon + _log_normal(-mu / 2 - epsilon / mu)
    return 0.0 if above <= below else math.exp(above) - math.exp(below)


def _log_normal(x: float) -> float:
    """Return the logarithm of the normal distribution's value at x."""
    if x > -10:
        return math.log(math.erfc(-x / math.sqrt(2)) / 2)
    # An asymptotic series: erfc would be 0 far out.
    square = x * x
    tail = 1 - 1 / square + 3 / square**2 - 15 / square**3
    return -square / 2 - math.log(-x * math.sqrt(2 * math.pi)) + math.log(tail)


def _smallest(holds: Callable[[float], bool]) -> float:
    """Return the smallest positive number from which on something holds, a little rounded up."""
    low, high = 0.0, 1.0
    while not holds(high):
        low, high = high, 2 * high
        if high > _LARGEST:
            return math.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _composed(events: Sequence[Event], delta: float, accountant: Accountant) -> float:
    """Return epsilon as the library dp-accounting has it."""
    library, pld, rdp = _library()
    if accountant == "rdp":
        made = rdp.RdpAccountant()
    else:
        width = _FINE if sum(n for _, _, n in events) > _FEW else _COARSE
        # Little noise spreads the losses far, and its epsilon needs no fine grid.
        width *= max(1.0, 0.4 / min(noise for _, noise, _ in events) ** 2)
        made = pld.PLDAccountant(value_discretization_interval=width)
    with _quiet():
        for chance, noise, count in events:
            event = library.GaussianDpEvent(noise)
            if chance < 1:
                event = library.PoissonSampledDpEvent(chance, event)
            made.compose(event, count)
        return float(made.get_epsilon(delta))


def _library() -> tuple[Any, Any, Any]:
    try:
        names = ("dp_accounting", "dp_accounting.pld", "dp_accounting.rdp")
        library, pld, rdp = map(importlib.import_module, names)
    except ModuleNotFoundError as error:
        raise missing_extra(error, "counting the privacy of sampled cohorts") from error
    return library, pld, rdp


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back absl's warnings about orders of Rényi divergences that are left out."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
