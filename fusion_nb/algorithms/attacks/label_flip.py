"""Label flipping: hostile parties train on wrong labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.algorithms.attacks.base import Num
from fusion_nb.core import rows as rows_of
from fusion_nb.core.protocols import DataPoisoning
from fusion_nb.errors import DataError, option


class LabelFlip(DataPoisoning):
    """Train on wrong labels: C - 1 - y for y, of C classes numbered from 0. Test rows keep theirs.

    Source: used as in Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets
    via Bucketing", ICLR 2022.
    """

    def __init__(self, *, num: Num = 1) -> None:
        self.num = num

    def flip(self, rows: Any, labels: np.ndarray) -> Any:
        """Return a data set of the same rows with wrong labels; the given one stays as it is.

        labels: those of all rows, which say what the classes are. Raises DataError for
        measurements.
        """
        if not rows_of.is_classes(labels):
            raise DataError(
                f"{option('adversary', 'label_flip')}, but the labels are measurements",
                f"use another {option('adversary')}",
            )
        ends = int(labels.min()) + int(labels.max())
        if isinstance(rows, tuple):
            x, y = rows
            return x, (ends - y.astype(np.int64)).astype(y.dtype)
        return FlippedLabels(rows, ends, labels.ndim)


@dataclass(frozen=True)
class FlippedLabels:
    """The rows of a map-style data set with wrong labels.

    ends: the sum of the lowest and the highest class;  ndim: of the labels of all rows, as class
    numbers
    """

    data: Any
    ends: int
    ndim: int

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, position: int) -> Any:
        x, label = self.data[position]
        y = np.asarray(label)
        if y.ndim == self.ndim and y.size > 1:  # one-hot: a number for each class
            wrong = y[..., ::-1].copy()
        else:
            wrong = (self.ends - y.astype(np.int64)).astype(
                np.int64 if y.dtype == np.bool_ else y.dtype
            )
        return x, wrong if y.ndim else wrong[()]
