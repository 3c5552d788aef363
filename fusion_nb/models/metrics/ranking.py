"""Metrics of the order of scores: AUC and average precision, from histograms with fixed bins."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from fusion_nb.core.protocols.metric import LabelsKind, Metric, MetricTask, Sums
from fusion_nb.models.metrics.names import no_class, of_classes, second_class_note

#: Steps of a probability at whose edges bins begin.
_STEPS = 8192
#: The same of its logit, as (from, to, steps): single precision has numbers near 0 down to the
#: first, and double precision near 1 up to the last.
_LOGITS = ((-88, -16, 1024), (-16, 16, 4096), (16, 36, 256))
#: Cells of a histogram that are counted in one array.
_MAX_CELLS = 1 << 24


@cache
def edges() -> np.ndarray:
    """Return the edges of the bins of probabilities, fine near 0 and near 1 as well.

    The first and the last bin hold the probabilities 0 and 1 alone.
    """
    even = np.linspace(0, 1, _STEPS + 1)[1:-1]
    logits = np.concatenate([np.linspace(low, high, steps + 1) for low, high, steps in _LOGITS])
    ends = [np.nextafter(0, 1), 1.0]
    return np.unique(np.concatenate([even, 1 / (1 + np.exp(-logits)), ends]))


class _OfHistograms(Metric):
    """A metric of two histograms of each class: of the scores of its rows, and of the others'.

    Of two classes it is that of the second, of more the mean of each against the others, over those
    that some rows have and others don't.
    """

    kinds: ClassVar[tuple[LabelsKind, ...]] = ("classes", "flags")

    def __init__(
        self,
        *,
        of: Annotated[
            str, Field(description="class that is told from the others, in place of a mean")
        ] = "",
    ) -> None:
        self._of = of

    def names(self, name: str, task: MetricTask) -> tuple[str, ...]:
        """Return `auc`, or `auc_cat` of one class."""
        return of_classes(name, (self._of,)) if self._of else (name,)

    def problem(self, task: MetricTask) -> str:
        """Return why there is no class of that name, or ""."""
        return no_class(self._of, task.names)

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return the bins that have a score, and how many each has."""
        is_it = labels > 0 if task.kind == "flags" else labels[:, None] == np.arange(task.num)
        used = slice(None)
        if self._of:
            used = slice(task.names.index(self._of), task.names.index(self._of) + 1)
        elif task.kind == "classes" and task.num == 2:
            used = slice(1, 2)
        scores, is_it = predictions[:, used], is_it[:, used]
        num_bins, num_classes = len(edges()) + 1, scores.shape[1]
        bins = np.searchsorted(edges(), scores, side="right")
        keys = (np.arange(num_classes) * 2 + is_it) * num_bins + bins
        if (cells := num_classes * 2 * num_bins) <= _MAX_CELLS:
            counts = np.bincount(keys.reshape(-1), minlength=cells)
            found = np.flatnonzero(counts)
            return {"keys": found, "counts": counts[found].astype(np.float64)}
        found, counts = np.unique(keys, return_counts=True)
        return {"keys": found, "counts": counts.astype(np.float64)}

    def join(self, parts: Sequence[Sums], weights: Sequence[float], task: MetricTask) -> Sums:
        """Return the histograms of all parts."""
        every = np.concatenate([part["keys"] for part in parts])
        counts = np.concatenate(
            [part["counts"] * weight for part, weight in zip(parts, weights, strict=True)]
        )
        keys, places = np.unique(every, return_inverse=True)
        return {"keys": keys, "counts": np.bincount(places, counts, len(keys))}

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the mean over classes."""
        found = [self._value(yes, no) for yes, no, _ in _histograms(sums)]
        return [float(np.mean(found)) if found else math.nan]

    def error(self, sums: Sums, task: MetricTask) -> float:
        """Return the bound of the error that the bins make: the order within a bin is unknown."""
        found = [self._error(yes, no, mixed) for yes, no, mixed in _histograms(sums)]
        return float(np.mean(found)) if found else 0.0

    @abstractmethod
    def _value(self, yes: np.ndarray, no: np.ndarray) -> float:
        """Return the value of one class. yes, no: rows in each bin, from low to high scores."""

    @abstractmethod
    def _error(self, yes: np.ndarray, no: np.ndarray, mixed: np.ndarray) -> float:
        """Return the bound of its error. mixed: whether a bin's scores may differ."""


class AUC(_OfHistograms):
    """The chance that a row of the class has a higher score than another one.

    It is the area under the ROC curve. From some 13,000 bins, its error is at most half of the
    share of pairs of a row of the class and another one that are in the same bin.
    """

    def _value(self, yes: np.ndarray, no: np.ndarray) -> float:
        below = np.cumsum(no) - no
        return float((yes * (below + no / 2)).sum() / (yes.sum() * no.sum()))

    def _error(self, yes: np.ndarray, no: np.ndarray, mixed: np.ndarray) -> float:
        return float((yes * no * mixed).sum() / 2 / (yes.sum() * no.sum()))


class AveragePrecision(_OfHistograms):
    """The mean precision over the thresholds at which a further row of the class is found.

    Its error is at most the difference that the best and the worst order within each bin make.
    """

    def notes(self, name: str, task: MetricTask) -> list[str]:
        """Return which of two classes it is about, where it is not plain."""
        is_pair = task.kind == "classes" and task.num == 2
        return second_class_note(name, task.names) if is_pair and not self._of else []

    def _value(self, yes: np.ndarray, no: np.ndarray) -> float:
        found, others = np.cumsum(yes[::-1]), np.cumsum(no[::-1])
        return float((yes[::-1] * found / np.maximum(found + others, 1e-300)).sum() / yes.sum())

    def _error(self, yes: np.ndarray, no: np.ndarray, mixed: np.ndarray) -> float:
        yes, no, all_yes = yes[::-1], no[::-1], yes.sum()
        before, others = np.cumsum(yes) - yes, np.cumsum(no) - no
        # Bins of rows of the class only have thresholds between these rows as well.
        used = (yes > 0) & mixed[::-1]
        yes, no, before, others = yes[used], no[used], before[used], others[used]
        middle = yes * (before + yes) / (before + yes + others + no)
        best = _precisions(before, others, yes)
        worst = _precisions(before, others + no, yes)
        return float(np.maximum(best - middle, middle - worst).sum() / all_yes)


def _histograms(sums: Sums) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the two histograms of each class that some rows have and others don't.

    The third array says of each bin whether its scores may differ.
    """
    num_bins = len(edges()) + 1
    keys, counts = sums["keys"], sums["counts"]
    owners, bins = keys // (2 * num_bins), keys % num_bins
    is_it = (keys // num_bins) % 2 == 1
    for owner in np.unique(owners):
        own = owners == owner
        used, places = np.unique(bins[own], return_inverse=True)
        yes = np.bincount(places, counts[own] * is_it[own], len(used))
        no = np.bincount(places, counts[own] * ~is_it[own], len(used))
        if yes.sum() and no.sum():
            yield yes, no, (used > 0) & (used < num_bins - 1)


def _precisions(found: np.ndarray, others: np.ndarray, yes: np.ndarray) -> np.ndarray:
    """Return the sums over i = 1 .. yes of (found + i) / (found + others + i)."""
    start = found + others
    return yes - others * (_harmonic(start + yes) - _harmonic(start))


def _harmonic(number: np.ndarray) -> np.ndarray:
    """Return the harmonic numbers, and numbers between them where counts are no whole numbers."""
    # The expansion is exact to 1e-12 from 40 on; the first terms are added one by one.
    steps = np.arange(1, 41)
    far = number + 40
    series = np.log(far) + np.euler_gamma + 1 / (2 * far) - 1 / (12 * far**2) + 1 / (120 * far**4)
    return np.asarray(series - (1 / (number[..., None] + steps)).sum(-1))
