"""Scalers that are fitted from the parties' moments, before round 1: nothing of a row travels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

KINDS = (StandardScaler, MinMaxScaler, MaxAbsScaler)


@dataclass(frozen=True)
class Moments:
    """The moments of each feature over some rows.

    squares: the sums of the squared differences from the means;  low, high: or () if not asked for
    """

    count: int
    means: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, *, with_range: bool) -> Moments:
        """Return the moments of rows."""
        means = x.mean(0)
        low, high = (x.min(0), x.max(0)) if with_range else (np.empty(0), np.empty(0))
        return cls(len(x), means, ((x - means) ** 2).sum(0), low, high)

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """Return the moments of all rows together.

        Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
        Sample Variances", COMPSTAT 1982.
        """
        total = parts[0]
        for part in parts[1:]:
            count = total.count + part.count
            step = part.means - total.means
            total = cls(
                count,
                total.means + step * (part.count / count),
                total.squares + part.squares + step**2 * (total.count * part.count / count),
                np.minimum(total.low, part.low),
                np.maximum(total.high, part.high),
            )
        return total

    def to_tree(self) -> dict[str, Any]:
        """Return them as plain data."""
        return {
            "count": self.count,
            **{name: getattr(self, name).tolist() for name in ("means", "squares", "low", "high")},
        }

    @classmethod
    def from_tree(cls, found: Mapping[str, Any]) -> Moments:
        """Return the moments that `to_tree` wrote."""
        arrays = (np.array(found[name], float) for name in ("means", "squares", "low", "high"))
        return cls(int(found["count"]), *arrays)

    def scaled(self, factor: np.ndarray, offset: np.ndarray) -> Moments:
        """Return the moments of x * factor + offset, for positive factors."""
        has_range = bool(len(self.low))
        return Moments(
            self.count,
            self.means * factor + offset,
            self.squares * factor**2,
            self.low * factor + offset if has_range else self.low,
            self.high * factor + offset if has_range else self.high,
        )


def needs_range(scalers: Sequence[Any]) -> bool:
    """Return whether a scaler needs the least and the largest number of each feature."""
    return any(isinstance(scaler, MinMaxScaler | MaxAbsScaler) for scaler in scalers)


def fitted(scalers: Sequence[Any], moments: Moments) -> tuple[list[Any], Moments]:
    """Return the scalers of a pipeline, fitted to rows with these moments.

    The moments are returned as they are after the last scaler.
    """
    made = []
    for scaler in scalers:
        own = clone(scaler)
        own.fit(np.zeros((2, len(moments.means))))
        if isinstance(own, StandardScaler):
            moments = _standard(own, moments)
        elif isinstance(own, MinMaxScaler):
            moments = _min_max(own, moments)
        else:
            moments = _max_abs(own, moments)
        made.append(own)
    return made, moments


def transformed(scalers: Sequence[Any], x: np.ndarray) -> np.ndarray:
    """Return rows as the fitted scalers of a pipeline hand them on."""
    for scaler in scalers:
        x = np.asarray(scaler.transform(x))
    return x


def _standard(scaler: Any, moments: Moments) -> Moments:
    variances = moments.squares / moments.count
    scaler.n_samples_seen_ = np.int64(moments.count)
    scaler.mean_ = moments.means if scaler.with_mean or scaler.with_std else None
    offset, factor = np.zeros_like(variances), np.ones_like(variances)
    if scaler.with_std:
        # A feature is constant where its variance is no more than rounding makes of it.
        eps = np.finfo(float).eps
        limit = moments.count * eps * variances + (moments.count * moments.means * eps) ** 2
        scaler.var_ = variances
        scaler.scale_ = np.where(variances <= limit, 1.0, np.sqrt(variances))
        scaler.scale_[scaler.scale_ == 0] = 1.0
        factor = 1 / scaler.scale_
    if scaler.with_mean:
        offset = -moments.means * factor
    return moments.scaled(factor, offset)


def _min_max(scaler: Any, moments: Moments) -> Moments:
    low, high = scaler.feature_range
    scaler.n_samples_seen_ = moments.count
    scaler.data_min_, scaler.data_max_ = moments.low, moments.high
    scaler.data_range_ = moments.high - moments.low
    scaler.scale_ = (high - low) / _nonzero(scaler.data_range_)
    scaler.min_ = low - moments.low * scaler.scale_
    return moments.scaled(scaler.scale_, scaler.min_)


def _max_abs(scaler: Any, moments: Moments) -> Moments:
    scaler.n_samples_seen_ = moments.count
    scaler.max_abs_ = np.maximum(np.abs(moments.low), np.abs(moments.high))
    scaler.scale_ = _nonzero(scaler.max_abs_)
    return moments.scaled(1 / scaler.scale_, np.zeros_like(scaler.scale_))


def _nonzero(sizes: np.ndarray) -> np.ndarray:
    """Return sizes to divide by: 1 in the place of those that are next to nothing."""
    return np.where(sizes < 10 * np.finfo(float).eps, 1.0, sizes)
