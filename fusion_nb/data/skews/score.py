"""How unlike the parties of a division are, as numbers between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds

#: Bins of a histogram, columns that are compared, and rows of each party, at most.
_BINS, _COLUMNS, _ROWS = 10, 64, 2000


@dataclass(frozen=True)
class SkewScore:
    """The mean Hellinger distance of a party's distribution from that of all rows.

    0: all parties are alike;  1: a party has nothing that others have. Each party counts by its
    rows. None where it does not exist: there are no classes, or rows are no numbers.
    labels:     of the classes of the parties' rows;  even_labels: after a shuffle of all rows
    features:   of each column's numbers in ten bins, the mean over columns
    even_features: after a shuffle
    quantity:   of the parties' sizes from equal ones

    Source: Jimenez Gutierrez, Anagnostopoulos, Chatzigiannakis, Vitaletti, "FedArtML: A Tool to
    Facilitate the Generation of Non-IID Datasets in a Controlled Way to Support Federated Learning
    Research", IEEE Access 2024.
    """

    labels: float | None
    even_labels: float | None
    features: float | None
    even_features: float | None
    quantity: float

    def __str__(self) -> str:
        parts = [
            f"{word} {value:.2f} ({even:.2f} after a shuffle)"
            for word, value, even in (
                ("labels", self.labels, self.even_labels),
                ("features", self.features, self.even_features),
            )
            if value is not None
        ]
        parts.append(f"sizes {self.quantity:.2f}")
        return (
            f"skew: {', '.join(parts)}: mean Hellinger distances of parties from all rows, 0 for "
            "parties that are alike, 1 for parties that have nothing in common"
        )


def score(labels: Sequence[np.ndarray], rows: Sequence[Any], seed: int) -> SkewScore:
    """Return the skew of parties with these labels and rows, a party with none left out.

    >>> found = score([np.zeros(50, int), np.ones(50, int)], [None, None], 0)
    >>> round(found.labels, 2), round(found.quantity, 2)
    (0.54, 0.0)
    """
    sizes = np.array([len(y) for y in labels])
    present = [y for y in labels if len(y)]
    of_labels = even = None
    if present and all(rows_of.is_classes(y) and y.ndim == 1 for y in present):
        _, codes = np.unique(np.concatenate(present), return_inverse=True)
        of_labels = _distance(codes, [len(y) for y in present])
        even = _distance(seeds.stream(seed, "even").permutation(codes), [len(y) for y in present])
    of_rows, even_rows = _of_rows(rows, seed)
    shares = sizes / max(1, sizes.sum())
    equal = np.full(len(sizes), 1 / max(1, len(sizes)))
    return SkewScore(of_labels, even, of_rows, even_rows, _hellinger(shares, equal))


def _of_rows(rows: Sequence[Any], seed: int) -> tuple[float | None, float | None]:
    """Return the skew of the rows' numbers, and that after a shuffle."""
    tables = [_table(data) for data in rows]
    found = [table for table in tables if table is not None and len(table)]
    if not found or len(found) < len(tables) or len({table.shape[1] for table in found}) > 1:
        return None, None
    sizes = [len(table) for table in found]
    together = np.concatenate(found)
    varying = np.flatnonzero(np.nanstd(together, axis=0) > 0)
    if not len(varying):
        return 0.0, 0.0
    chosen = varying[np.linspace(0, len(varying) - 1, min(_COLUMNS, len(varying))).astype(int)]
    order = seeds.stream(seed, "even").permutation(len(together))
    pairs = []
    for column in chosen:
        values = together[:, column]
        edges = np.unique(np.nanquantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, values, side="right")
        pairs.append((_distance(codes, sizes), _distance(codes[order], sizes)))
    distances, even = np.mean(pairs, axis=0)
    return float(distances), float(even)


def _table(data: Any) -> np.ndarray | None:
    """Return the first rows as a matrix of numbers; None where they are none."""
    array = rows_of.leaves(data[0])[0] if isinstance(data, tuple) else None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        return None
    some = array[:_ROWS].astype(np.float64)
    return some.reshape(len(some), -1)


def _distance(codes: np.ndarray, sizes: Sequence[int]) -> float:
    """Return the mean distance of parties from all, each party weighted by its size.

    codes: of all rows, party by party, from 0
    """
    num = int(codes.max()) + 1
    everyone = np.bincount(codes, minlength=num) / len(codes)
    parts = np.split(codes, np.cumsum(sizes)[:-1])
    distances = [_hellinger(np.bincount(p, minlength=num) / len(p), everyone) for p in parts]
    return float(np.average(distances, weights=sizes))


def _hellinger(p: np.ndarray, q: np.ndarray) -> float:
    """Return the Hellinger distance of two distributions."""
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(p * q).sum()))))
