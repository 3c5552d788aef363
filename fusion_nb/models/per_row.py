"""Models that can be trained by gradients that are clipped row by row and made noisy (DP-SGD)."""

from __future__ import annotations

from abc import ABC, abstractmethod


class PerRowTrainable(ABC):
    """A model whose `fit` honours the option `per_row`: {"clip": C, "noise": z}.

    In each step every row of the party is drawn with the chance batch_size / rows; each row's
    gradient is clipped to the norm C; noise of the deviation z * C is added to their sum, which is
    divided by batch_size. The result's extras hold "per_row": [chance, steps].

    Source: Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with
    Differential Privacy", CCS 2016.
    """

    @abstractmethod
    def per_row_obstacle(self) -> str:
        """Return why it can't be trained so, or ""; known once it was checked."""


def chance_and_steps(
    num_rows: int, *, batch_size: int, epochs: int, steps: int = 0
) -> tuple[float, int]:
    """Return the chance of a row in a step, and the steps of a training.

    >>> chance_and_steps(100, batch_size=30, epochs=2)
    (0.3, 8)
    """
    in_epoch = -(-num_rows // batch_size)
    return min(1.0, batch_size / num_rows), steps or epochs * in_epoch
