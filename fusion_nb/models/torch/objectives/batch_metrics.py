"""The metrics of batches, and their means over all that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fusion_nb.core.arithmetic import exponential
from fusion_nb.core.types import Metrics


@dataclass(frozen=True)
class BatchMetrics:
    """The metrics of one batch.

    means:  by name;  counts: the number that each is a mean over: rows, or labels that count
    """

    means: Metrics
    counts: Mapping[str, float]

    @classmethod
    def of_rows(cls, means: Metrics, num_rows: int) -> BatchMetrics:
        """Return metrics that are means over the rows."""
        return cls(means, dict.fromkeys(means, num_rows))


def mean(batches: Iterable[BatchMetrics]) -> Metrics:
    """Return the metrics of all batches together; 0 where nothing counts."""
    totals: Metrics = {}
    counts: dict[str, float] = {}
    for batch in batches:
        for name, value in batch.means.items():
            count = batch.counts[name]
            # A mean over nothing may be NaN.
            totals[name] = totals.get(name, 0.0) + (value * count if count else 0.0)
            counts[name] = counts.get(name, 0) + count
    found = {name: total / counts[name] if counts[name] else 0.0 for name, total in totals.items()}
    if "perplexity" in found:  # the mean of the batches' is none
        found["perplexity"] = exponential(found["loss"])
    return found
