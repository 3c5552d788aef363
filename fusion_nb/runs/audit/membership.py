"""Membership inference: telling rows that a model was trained on from others by their losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds

#: Rows of each kind that are looked at, at most.
_MOST = 2000
#: Quantile of the normal distribution for an interval of 95 %.
_Z = 1.96


@dataclass(frozen=True)
class Membership:
    """The area under the ROC curve of the attack, with an interval of 95 %; 0.5 is guessing.

    members, others: the rows that it was measured on
    """

    auc: float
    low: float
    high: float
    members: int
    others: int


def attack(member_losses: np.ndarray, other_losses: np.ndarray) -> Membership:
    """Return how well a smaller loss tells that a row was trained on.

    Sources: Yeom, Giacomelli, Fredrikson, Jha, "Privacy Risk in Machine Learning", CSF 2018 (the
    attack); Hanley, McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 1982
    (the interval).
    """
    n, m = len(member_losses), len(other_losses)
    ordered = np.sort(other_losses)
    larger = m - np.searchsorted(ordered, member_losses, side="right")
    equal = m - larger - np.searchsorted(ordered, member_losses, side="left")
    auc = float(np.mean(larger + equal / 2) / m)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)
    spread = _Z * math.sqrt(max(variance, 0.0))
    return Membership(auc, max(0.0, auc - spread), min(1.0, auc + spread), n, m)


def row_losses(model: Any, data: Any, seed: int) -> np.ndarray:
    """Return the loss of single rows, of some of them where there are many.

    model: predicts rows, and has the weights that are audited
    """
    count = rows_of.size(data)
    if count > _MOST:
        data = rows_of.take(data, np.array(seeds.some(seed, count, _MOST, "audit")))
    predicted, labels = np.asarray(model.predict(data), np.float64), np.asarray(data[1])
    if model.task == "classes":
        classes = labels.argmax(1) if labels.ndim > 1 else labels.astype(int)
        found = np.take_along_axis(predicted, classes.reshape(-1, 1), 1).ravel()
        return -np.log(np.maximum(found, 1e-12))
    predicted, labels = predicted.reshape(len(predicted), -1), labels.reshape(len(labels), -1)
    if model.task == "binary":
        found = np.where(labels > 0.5, predicted, 1 - predicted)
        return np.asarray(-np.log(np.maximum(found, 1e-12)).sum(1))
    return np.asarray(((predicted - labels) ** 2).sum(1))


def share_interval(right: int, total: int) -> tuple[float, float]:
    """Return the interval of 95 % of a share (Wilson's).

    >>> low, high = share_interval(20, 20)
    >>> round(low, 2), high
    (0.84, 1.0)
    """
    share, z2 = right / total, _Z**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    spread = math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) * _Z / (1 + z2 / total)
    return max(0.0, middle - spread), min(1.0, middle + spread)
