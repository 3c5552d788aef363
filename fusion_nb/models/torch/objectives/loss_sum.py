"""The sum of the losses of a pass over the rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class LossSum:
    """Adds losses up in their own order and type, each times its number of rows.

    On a CPU, losses of float32 are added as numpy's numbers, with the same digits: an operation of
    PyTorch lets other threads run, and has to wait for them. On other devices they stay there:
    reading one would wait for all that was computed before it.

    >>> total = LossSum(torch.float32, torch.device("cpu"))
    >>> total.add(torch.tensor(0.5), 3)
    >>> total.add(torch.tensor(1.0), 1)
    >>> total.value
    2.5
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._is_plain = dtype == torch.float32 and device.type == "cpu"
        self._numbers = np.float32(0)
        self._rest: Tensor | None = None

    def add(self, loss: Tensor, num_rows: int) -> None:
        """Add the mean loss of a number of rows."""
        if self._rest is None and self._is_plain and loss.dtype == torch.float32:
            with np.errstate(all="ignore"):  # a loss that is not finite is told later
                self._numbers += np.float32(loss.item()) * np.float32(num_rows)
            return
        if self._rest is None:
            self._rest = torch.full((), float(self._numbers), dtype=self._dtype)
            self._rest = self._rest.to(self._device)
        self._rest += loss * num_rows

    @property
    def value(self) -> float:
        """The sum so far."""
        return float(self._numbers if self._rest is None else self._rest)
