"""The statistics of tables that parties report: counts and sums, from which no row can be read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_nb.core.types.table import TableColumns

#: Bins of a histogram.
NUM_BINS = 1024


@dataclass(frozen=True)
class NumberFacts:
    """The first report about a column of numbers: how many there are, their range and their sum."""

    count: int = 0
    missing: int = 0
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    is_whole: bool = True

    @classmethod
    def of(cls, values: np.ndarray) -> NumberFacts:
        """Return the facts about numbers, NaN where one is missing."""
        there = values[~np.isnan(values)]
        missing = len(values) - len(there)
        if not len(there):
            return cls(missing=missing)
        is_whole = bool((there == np.rint(there)).all())
        low, high = float(there.min()), float(there.max())
        return cls(len(there), missing, low, high, math.fsum(there), is_whole)

    @classmethod
    def union(cls, parts: Sequence[NumberFacts]) -> NumberFacts:
        """Return the facts about several parties' numbers, as about one column."""
        return cls(
            sum(part.count for part in parts),
            sum(part.missing for part in parts),
            min(part.low for part in parts),
            max(part.high for part in parts),
            math.fsum(part.total for part in parts),
            all(part.is_whole for part in parts),
        )

    @property
    def mean(self) -> float:
        """The mean, within the range that rounding could leave."""
        return min(max(self.total / self.count, self.low), self.high) if self.count else math.nan


@dataclass(frozen=True)
class Moments:
    """The second report: sums of deviations from a number that all parties subtract, and of their
    squares, in a unit that all divide by, so that neither cancels nor overflows.
    """

    first: float
    second: float


@dataclass(frozen=True)
class Bins:
    """A histogram: how many numbers lie below a range, in each of its bins, and above it."""

    below: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class CategoryFacts:
    """The report about a column of categories: how many rows each has, and how many have none."""

    counts: Mapping[str, int]
    missing: int = 0


class PartyTable:
    """The party's side: it answers with counts and sums over its own rows."""

    def __init__(self, columns: TableColumns) -> None:
        self._columns = columns

    def numbers(self, name: str) -> NumberFacts:
        """Return the facts about a column of numbers."""
        return NumberFacts.of(self._columns[name])

    def moments(self, name: str, shift: float, unit: float) -> Moments:
        """Return sums of (number - shift) / unit, and of its squares."""
        scaled = (self._there(name) - shift) / unit
        return Moments(math.fsum(scaled), math.fsum(scaled * scaled))

    def bins(self, name: str, edges: np.ndarray) -> Bins:
        """Return how many numbers lie in each bin; the last one holds its upper edge too."""
        there = self._there(name)
        positions = np.searchsorted(edges, there, side="right") - 1
        last = len(edges) - 2
        positions[there == edges[-1]] = last
        inside = positions[(positions >= 0) & (positions <= last)]
        counts = np.bincount(inside, minlength=last + 1)
        return Bins(int((positions < 0).sum()), tuple(counts.tolist()))

    def categories(self, name: str) -> CategoryFacts:
        """Return how many rows each category has."""
        values = self._columns[name]
        if values.dtype != object:  # a column without any value
            return CategoryFacts({}, len(values))
        counts = Counter(values.tolist())
        missing = counts.pop(None, 0)
        return CategoryFacts(counts, missing)

    def _there(self, name: str) -> np.ndarray:
        values = self._columns[name]
        return values[~np.isnan(values)]


@dataclass(frozen=True)
class Spread:
    """The mean and the standard deviation of the population over all parties."""

    mean: float
    sd: float


def spread(parties: Sequence[PartyTable], name: str, facts: NumberFacts) -> Spread:
    """Return mean and standard deviation of a column, from sums about the agreed mean.

    facts: the union of all parties'
    """
    if not facts.count:
        return Spread(math.nan, math.nan)
    shift = facts.mean
    unit = max(facts.high - shift, shift - facts.low)
    if unit == 0:
        return Spread(shift, 0.0)
    found = [party.moments(name, shift, unit) for party in parties]
    first = math.fsum(part.first for part in found) / facts.count
    second = math.fsum(part.second for part in found) / facts.count
    return Spread(shift + unit * first, unit * math.sqrt(max(0.0, second - first * first)))


@dataclass(frozen=True)
class Quantile:
    """A quantile of all parties' numbers, and how far it may be from that of their rows."""

    value: float
    error: float


def quantile(
    parties: Sequence[PartyTable], name: str, facts: NumberFacts, share: float
) -> Quantile:
    """Return a quantile, interpolated as numpy does, from two histograms that are sums.

    The first is over the range of all parties, the second over the bin in which the quantile lies,
    so that the error is at most the range / NUM_BINS ** 2, and that of rounding. Whole numbers are
    exact where their range is not wider than that.
    """
    if not facts.count:
        return Quantile(math.nan, 0.0)
    if facts.low == facts.high:
        return Quantile(facts.low, 0.0)
    place = (facts.count - 1) * share
    lower = math.floor(place)
    edges = _edges(facts.low, facts.high)
    coarse = _total(parties, name, edges)
    low = _ranked(parties, name, edges, coarse, lower, facts)
    if place == lower:
        return low
    high = _ranked(parties, name, edges, coarse, lower + 1, facts)
    part = place - lower
    error = (1 - part) * low.error + part * high.error
    return Quantile(low.value + part * (high.value - low.value), error)


def _edges(low: float, high: float) -> np.ndarray:
    edges = low + (high - low) * (np.arange(NUM_BINS + 1) / NUM_BINS)
    edges[-1] = high
    return edges


def _total(parties: Sequence[PartyTable], name: str, edges: np.ndarray) -> tuple[int, np.ndarray]:
    """Return how many numbers of all parties lie below the edges, and in each bin."""
    found = [party.bins(name, edges) for party in parties]
    return sum(part.below for part in found), np.sum([part.counts for part in found], axis=0)


def _ranked(
    parties: Sequence[PartyTable],
    name: str,
    edges: np.ndarray,
    coarse: tuple[int, np.ndarray],
    rank: int,
    facts: NumberFacts,
) -> Quantile:
    """Return the number of a rank, counted from 0 for the lowest one."""
    low, high = _bin_of(rank, edges, coarse)
    # A bin without its upper edge, but for the last one: so the finer bins count the same rows.
    fine = _edges(low, high)
    fine = np.minimum(fine, high if high == edges[-1] else np.nextafter(high, low))
    if fine[0] < fine[-1]:
        low, high = _bin_of(rank, fine, _total(parties, name, fine))
    value = low + (high - low) / 2
    error = (high - low) / 2 + math.ulp(max(abs(low), abs(high)))  # of rounding
    if facts.is_whole and math.floor(high) - math.ceil(low) == 0:  # one whole number lies in it
        return Quantile(float(math.ceil(low)), 0.0)
    return Quantile(value, error)


def _bin_of(rank: int, edges: np.ndarray, found: tuple[int, np.ndarray]) -> tuple[float, float]:
    """Return the edges of the bin that holds a rank."""
    below, counts = found
    position = int(np.searchsorted(below + np.cumsum(counts), rank, side="right"))
    position = min(position, len(edges) - 2)
    return float(edges[position]), float(edges[position + 1])
