"""The metrics of a module on some rows, measured on as many cores as it may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb.core import rows as rows_of
from fusion_nb.core.process.thread_pool import WorkerPool
from fusion_nb.core.types import Metrics
from fusion_nb.models.torch import threads
from fusion_nb.models.torch.copying.copies import duplicate
from fusion_nb.models.torch.objectives import batch_metrics
from fusion_nb.models.torch.objectives.batch_metrics import BatchMetrics
from fusion_nb.models.torch.setup import Setup
from fusion_nb.models.torch.steps import Step
from fusion_nb.models.torch_randomness import own_randomness

#: Rows in a batch of evaluation. Larger ones are slower on a CPU: their activations no longer fit
#: its caches. A GPU takes more of them, as long as they are small.
_BATCH, _MOST_ON_GPU, _BYTES_ON_GPU = 128, 4096, 16 << 20
#: Batches that one core evaluates at a time; with fewer in all, a second core is not worth a second
#: module.
_SHARE = 4

#: A module, and the step that goes with it.
_Worker = tuple[nn.Module, Step]
#: The metrics of each batch.
_Found = list[BatchMetrics]


class Evaluator:
    """Evaluates a module.

    gate: called between two batches;  num_cores: cores that it may use
    """

    def __init__(
        self, module: nn.Module, setup: Setup, gate: Callable[[], None], num_cores: int
    ) -> None:
        self._module = module
        self._setup = setup
        self._gate = gate
        self._num_cores = num_cores

    def evaluate(self, data: Any) -> Metrics:
        """Return the objective's metrics, averaged in float64 over the rows.

        Where a loss leaves labels out, they are averaged over the labels that count, and are 0
        without any. They are the same on any number of cores.
        """
        batches = rows_of.chunks(np.arange(rows_of.size(data)), self._batch_size(data))
        step = self._setup.turn(self._module)
        self._module.eval()
        with self._shared(data, batches, step) as each:
            shares = each(lambda worker, share: self._measured(worker, data, share))
            return batch_metrics.mean(found for share in shares for found in share)

    def _batch_size(self, data: Any) -> int:
        is_small = isinstance(data, tuple) and isinstance(data[0], np.ndarray) and len(data[0])
        if self._setup.batches.device.type == "cpu" or not is_small:
            return _BATCH
        return min(max(_BATCH, _BYTES_ON_GPU // max(1, data[0][:1].nbytes)), _MOST_ON_GPU)

    def _measured(self, worker: _Worker, data: Any, batches: list[np.ndarray]) -> _Found:
        (module, step), found = worker, []
        # no_grad and not inference_mode: a tensor that a model keeps from here must still be of use
        # in training.
        with torch.no_grad():
            for x, y in self._setup.batches.of(data, batches):
                self._gate()
                found.append(step.measure(module, x, y))
        return found

    @contextmanager
    def _shared(
        self, data: Any, batches: list[np.ndarray], step: Step
    ) -> Iterator[Callable[[Callable[[_Worker, list[np.ndarray]], _Found]], Iterator[_Found]]]:
        """Give a function that maps a function of (worker, batches) over all batches.

        It uses several cores where that is faster.
        """
        shares = [batches[start : start + _SHARE] for start in range(0, len(batches), _SHARE)]
        device, varies = self._setup.batches.device, self._setup.draws.in_evaluation
        carries = bool(self._setup.carried.hidden) or self._setup.carried.changes_loss
        may_share = device.type == "cpu" and isinstance(data, tuple) and not carries
        own: _Worker = self._module, step
        width = min(self._num_cores, len(shares)) if may_share else 1
        if width == 1 or varies:
            # A Dataset might draw too.
            draws = varies or not isinstance(data, tuple)
            with own_randomness(0, device, draws, redraws=False):
                yield lambda function: (function(own, share) for share in shares)
            return
        # The loss may look at the module, as at features that it keeps.
        others = [duplicate(self._module) for _ in range(width - 1)]
        bound = [(other.module, self._setup.bound(other.binder).step) for other in others]
        workers = WorkerPool([own, *bound], self._gate, threads.single_threaded)
        try:
            yield lambda function: workers.map(function, shares)
        finally:
            workers.close()
