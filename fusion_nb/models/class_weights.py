"""Models whose loss may weigh rows by their class, and the weights that balance the classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from fusion_nb.errors import OptionError, option


class ClassWeighted(ABC):
    """A model whose training loss may weigh rows by their class.

    The loss of a batch is the sum of weight times loss, divided by the rows, and not by the
    weights: so a party that has one class only moves the fused model as its rows' weights say.
    Evaluation does not weigh rows, so that losses of runs can be compared.
    """

    @abstractmethod
    def weigh_classes(self, weights: np.ndarray) -> None:
        """Train with these weights from now on.

        weights: (classes,), or (flags, 2) of no and yes where each label is several yes or no
        Raises OptionError for a loss that can't weigh rows.
        """


def parse(text: str) -> dict[str, float]:
    """Return the weights in text such as `yes=9,no=1`; none for `balanced`.

    Raises OptionError for other text.
    """
    if text == "balanced":
        return {}
    found: dict[str, float] = {}
    for part in text.split(","):
        name, sign, weight = part.rpartition("=")
        try:
            found[name.strip()] = float(weight)
        except ValueError:
            sign = ""
        if not sign or not 0 < found[name.strip()] < float("inf"):
            raise OptionError(
                f"{option('class_weights', text)} is not allowed",
                "give balanced, or a number > 0 for each class: yes=9,no=1",
                option="class_weights",
                value=text,
            )
    return found


def balanced(counts: np.ndarray) -> np.ndarray:
    """Return the weights with which each class that has a row weighs as much as the others.

    counts: rows of each class, along the last axis. The mean weight of all rows is 1; classes
    without a row have the weight 1.

    >>> balanced(np.array([90, 10]))
    array([0.55555556, 5.        ])
    """
    present = counts > 0
    total, num = counts.sum(-1, keepdims=True), present.sum(-1, keepdims=True)
    return np.divide(total, num * counts, out=np.ones(counts.shape), where=present)


def count_classes(labels: Sequence[np.ndarray], num: int, ignored: int | None) -> np.ndarray:
    """Return the number of labels of each class in several arrays of class numbers."""
    counts = np.zeros(num, np.int64)
    for part in labels:
        counted = part.reshape(-1) if ignored is None else part[part != ignored]
        counts += np.bincount(counted.astype(np.int64), minlength=num)
    return counts


def count_flags(labels: Sequence[np.ndarray], num: int) -> np.ndarray:
    """Return, of each flag, the number of labels that are no and yes."""
    counts = np.zeros((num, 2), np.int64)
    for part in labels:
        yes = (part.reshape(len(part), num) > 0).sum(0)
        counts += np.stack([len(part) - yes, yes], axis=1)
    return counts
