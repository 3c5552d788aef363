"""Steps on a GPU that are recorded once and replayed, so that their kernels are launched as one.

A step of a small network is some hundred kernels of a few microseconds, and to launch them one by
one takes longer than they do.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from fusion_nb.models.torch.vectorized.batches import StackedBatch
from fusion_nb.models.torch.vectorized.steps import Steps

#: Steps of a training from which on recording one is worth its time.
FEWEST = 8
#: Steps that are done one operation after the other first: an optimizer makes its state in them.
_FIRST = 2

#: Returns a function's tensor, and changes what the function changes, each time that it is called.
Replay = Callable[[], Tensor]
#: Records a function of no arguments; it is not run.
Record = Callable[[Callable[[], Tensor]], Replay]


class ReplayedSteps:
    """Steps whose operations are the same ones for each batch, on tensors of the same shapes."""

    def __init__(self, steps: Steps, record: Record) -> None:
        self._steps, self._record = steps, record
        self._num_left = _FIRST  # to be done one operation after the other
        self._replay: Replay | None = None

    @property
    def changed(self) -> Mapping[str, Tensor]:
        """The stacks of entries that training changes."""
        return self._steps.changed

    def do(self, batch: StackedBatch) -> Tensor:
        """Do one step; return the losses, which the next step overwrites."""
        if self._num_left:
            self._num_left -= 1
            return self._steps.do(batch)
        if self._replay is None:
            # The recorded operations read these tensors, into which each later batch is copied.
            x, y, shares = (part.clone() for part in _tensors(batch))
            self._batch = replace(batch, x=x, y=y, shares=shares)
            try:
                self._replay = self._record(lambda: self._steps.do(self._batch))
            except RuntimeError:  # an operation of the module that waits for the device
                self._num_left = sys.maxsize
                return self.do(batch)
        for fixed, given in zip(_tensors(self._batch), _tensors(batch), strict=True):
            fixed.copy_(given)
        return self._replay()


def _tensors(batch: StackedBatch) -> tuple[Tensor, ...]:
    return batch.x, batch.y, batch.shares


def record_on_cuda(function: Callable[[], Tensor]) -> Replay:
    """Record a function's kernels as a CUDA graph."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    # torch.cuda.graph() would also collect garbage and empty the allocator's cache, which takes
    # longer than a short training.
    with torch.cuda.stream(stream), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a graph without a kernel, where the function failed
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            output = function()
        finally:
            graph.capture_end()
    torch.cuda.current_stream().wait_stream(stream)

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay
