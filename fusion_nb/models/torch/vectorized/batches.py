"""The batches of several tasks side by side; shorter ones are filled up with rows of no weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusion_nb.core.types import TrainingTask
from fusion_nb.models.passes import epochs_or_steps
from fusion_nb.models.torch.batches import Batches

#: Bytes of rows that are laid out at a time.
_WINDOW = 4 << 20


@dataclass(frozen=True)
class Plan:
    """The rows of each of several tasks in each step, the same as if it were trained alone.

    index:  (tasks, steps, batch size) positions of rows
    shares: of the same shape: the weight of a row in its batch, 0 for those that fill up
    steps:  the number of steps of each task;  last: the first step of the last pass of each
    ending: step -> the tasks whose last step it is
    """

    index: Tensor
    shares: Tensor
    steps: list[int]
    last: list[int]
    ending: dict[int, list[int]]

    @classmethod
    def of(cls, tasks: Sequence[TrainingTask], rows: Batches) -> Plan:
        """Return the plan of tasks with one size of batch."""
        planned = [_batches(task, rows) for task in tasks]
        steps = [len(batches) for batches, _ in planned]
        widest = max(len(batch) for batches, _ in planned for batch in batches)
        index = np.zeros((len(planned), max(steps), widest), np.int64)
        shares = np.zeros(index.shape, np.float32)
        for i, (batches, _) in enumerate(planned):
            for step, batch in enumerate(batches):
                index[i, step, : len(batch)] = batch
                shares[i, step, : len(batch)] = 1 / len(batch)
        ending: dict[int, list[int]] = {step: [] for step in range(max(steps))}
        for i, num_steps in enumerate(steps):
            ending[num_steps - 1].append(i)
        last = [last for _, last in planned]
        return cls(torch.from_numpy(index), torch.from_numpy(shares), steps, last, ending)

    def mean_losses(self, losses: np.ndarray) -> list[float]:
        """Return the mean over the rows of each last pass.

        losses: (steps, tasks) means over the batches
        """
        sizes = np.count_nonzero(self.shares.numpy(), axis=2).T.astype(np.float64)
        for i, last in enumerate(self.last):  # steps after an end have no rows
            sizes[:last, i] = 0
        with np.errstate(invalid="ignore"):
            totals = (np.where(sizes > 0, losses, 0.0) * sizes).sum(0)
        return [float(mean) for mean in totals / sizes.sum(0)]

    def laid_out(
        self, tasks: Sequence[TrainingTask], rows: Batches
    ) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """Yield, for each step, its number, x (tasks, batch size, ...), y and shares."""
        num, num_steps, size = self.index.shape
        sources = [
            (torch.from_numpy(t.data[0]), rows.labels(torch.from_numpy(t.data[1]))) for t in tasks
        ]
        each = num * size * sources[0][0][:1].numel() * rows.dtype.itemsize
        span = max(1, min(num_steps, _WINDOW // max(each, 1)))
        shares = self.shares.to(rows.device, rows.dtype)
        for start in range(0, num_steps, span):
            index = self.index[:, start : start + span].flatten(1)
            x = _gathered([x for x, _ in sources], index, rows).to(rows.device)
            y = torch.stack([y[i] for (_, y), i in zip(sources, index, strict=True)]).to(
                rows.device
            )
            for step in range(index.shape[1] // size):
                part = slice(step * size, (step + 1) * size)
                yield start + step, x[:, part], y[:, part], shares[:, start + step]


def _batches(task: TrainingTask, rows: Batches) -> tuple[list[np.ndarray], int]:
    """Return the batches of all passes of a task, and the position where the last pass begins."""
    options, count = task.options, len(task.data[0])
    shuffler = torch.Generator().manual_seed(options["seed"])
    batches: list[np.ndarray] = []
    last = 0
    for first, pass_of in epochs_or_steps(
        lambda: rows.shuffled(count, options["batch_size"], shuffler),
        options["epochs"],
        options.get("steps", 0),
    ):
        last = first
        batches += pass_of
    return batches, last


def _gathered(sources: Sequence[Tensor], index: Tensor, rows: Batches) -> Tensor:
    """Return the rows at each line of an index, in the type that the module takes."""
    if any(x.dtype != rows.dtype for x in sources):
        return torch.stack([rows.inputs(x[i]) for x, i in zip(sources, index, strict=True)])
    found = sources[0].new_empty(*index.shape, *sources[0].shape[1:])
    for x, i, into in zip(sources, index, found, strict=True):
        torch.index_select(x, 0, i, out=into)
    return found
