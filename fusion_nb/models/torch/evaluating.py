"""What a module is worth on some rows, measured on as many cores as it may use."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb.core import rows as rows_of
from fusion_nb.core.thread_pool import Workers
from fusion_nb.core.types import Metrics
from fusion_nb.models.torch import threads
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.losses import Objective
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.randomness import own_randomness

#: Rows in a batch of evaluation. Larger ones are slower on a CPU: their activations no longer fit
#: its caches.
_BATCH = 128
#: Batches that one core measures at a time; with fewer in all, a second core is not worth a second
#: module.
_SHARE = 4


class TorchMeasuring:
    """The part of `TorchModel` that evaluates."""

    device: torch.device
    module: nn.Module
    num_cores: int
    gate: Callable[[], None]
    _rows: Batches
    _precision: Precision
    _varies: bool

    @abstractmethod
    def _ready(self) -> Objective: ...

    def evaluate(self, data: Any) -> Metrics:
        """Return the objective's metrics, averaged over the rows in float64; the same on any number
        of cores.
        """
        objective, count = self._ready(), rows_of.size(data)
        batches = rows_of.chunks(np.arange(count), _BATCH)
        totals: Metrics = {}

        def measured(module: nn.Module, batches: list[np.ndarray]) -> list[tuple[Metrics, int]]:
            found = []
            # no_grad and not inference_mode: a tensor that a model keeps from here must still do
            # for training.
            with torch.no_grad():
                for x, y in self._rows.of(data, batches):
                    self.gate()
                    output = self._precision.run(module, x)
                    found.append((objective.measure(output, objective.target(y, output)), len(x)))
            return found

        self.module.eval()
        with self._shared(data, batches) as each:
            for found in each(measured):
                for metrics, num_rows in found:
                    for name, value in metrics.items():
                        totals[name] = totals.get(name, 0.0) + value * num_rows
        return {name: total / count for name, total in totals.items()}

    @contextmanager
    def _shared(
        self, data: Any, batches: list[np.ndarray]
    ) -> Iterator[Callable[[Any], Iterator[Any]]]:
        """Give what maps a function of (module, batches) over all batches, on several cores where
        that is worth it.
        """
        shares = [batches[start : start + _SHARE] for start in range(0, len(batches), _SHARE)]
        width = (
            min(self.num_cores, len(shares))
            if self.device.type == "cpu" and isinstance(data, tuple)
            else 1
        )
        if width == 1 or self._varies:
            # A Dataset might draw too.
            draws = self._varies or not isinstance(data, tuple)
            with own_randomness(0, self.device, draws, redraws=False):
                yield lambda function: (function(self.module, share) for share in shares)
            return
        modules = [self.module, *(copy.deepcopy(self.module) for _ in range(width - 1))]
        workers = Workers(modules, self.gate, threads.on_one_core)
        try:
            yield lambda function: workers.map(function, shares)
        finally:
            workers.close()
