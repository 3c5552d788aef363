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
class StackedBatch:
    """The batches of several tasks in one step.

    x, y:   (tasks, batch size, ...);  shares: the weight of each row in its batch, 0 for those that
            fill up
    sizes:  the number of rows of each task's batch, 0 where the task has ended
    """

    x: Tensor
    y: Tensor
    shares: Tensor
    sizes: np.ndarray

    def parts(self) -> Iterator[tuple[np.ndarray, StackedBatch]]:
        """Yield the positions of tasks whose batches have one size, and these batches unfilled."""
        for size in np.unique(self.sizes[self.sizes > 0]):
            tasks = np.flatnonzero(self.sizes == size)
            if len(tasks) == len(self.sizes) and size == self.x.shape[1]:
                yield tasks, self
                return
            index = torch.from_numpy(tasks).to(self.x.device)
            x, y, shares = (part[index, :size] for part in (self.x, self.y, self.shares))
            yield tasks, StackedBatch(x, y, shares, self.sizes[tasks])


@dataclass(frozen=True)
class Plan:
    """The rows of each of several tasks in each step, the same as if it were trained alone.

    index:  (tasks, steps, batch size) positions of rows
    sizes:  (tasks, steps) numbers of rows; 0 after a task's end
    steps:  the number of steps of each task;  last: the first step of the last pass of each
    ending: step -> the tasks whose last step it is
    """

    index: Tensor
    sizes: np.ndarray
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
        sizes = np.zeros(index.shape[:2], np.int64)
        for i, (batches, _) in enumerate(planned):
            sizes[i, : len(batches)] = [len(batch) for batch in batches]
            for step, batch in enumerate(batches):
                index[i, step, : len(batch)] = batch
        ending: dict[int, list[int]] = {step: [] for step in range(max(steps))}
        for i, num_steps in enumerate(steps):
            ending[num_steps - 1].append(i)
        last = [last for _, last in planned]
        return cls(torch.from_numpy(index), sizes, steps, last, ending)

    def mean_losses(self, losses: np.ndarray) -> list[float]:
        """Return the mean over the rows of each last pass.

        losses: (steps, tasks) means over the batches
        """
        sizes = self.sizes.T.astype(np.float64)
        for i, last in enumerate(self.last):  # steps after an end have no rows
            sizes[:last, i] = 0
        with np.errstate(invalid="ignore"):
            totals = (np.where(sizes > 0, losses, 0.0) * sizes).sum(0)
        return [float(mean) for mean in totals / sizes.sum(0)]

    def laid_out(self, tasks: Sequence[TrainingTask], rows: Batches) -> Iterator[StackedBatch]:
        """Yield the batches of each step, in order."""
        if on_device := _joined(tasks, rows):
            yield from self._selected(*on_device, [len(t.data[0]) for t in tasks], rows)
            return
        num, num_steps, size = self.index.shape
        sources = [
            (torch.from_numpy(t.data[0]), rows.labels(torch.from_numpy(t.data[1]))) for t in tasks
        ]
        each = num * size * sources[0][0][:1].numel() * rows.dtype.itemsize
        span = max(1, min(num_steps, _WINDOW // max(each, 1)))
        shares = self._shares(rows)
        for start in range(0, num_steps, span):
            index = self.index[:, start : start + span].flatten(1)
            x = _gathered([x for x, _ in sources], index, rows).to(rows.device)
            y = torch.stack([y[i] for (_, y), i in zip(sources, index, strict=True)]).to(
                rows.device
            )
            for step in range(index.shape[1] // size):
                part = slice(step * size, (step + 1) * size)
                now = start + step
                yield StackedBatch(x[:, part], y[:, part], shares[:, now], self.sizes[:, now])

    def _selected(
        self, x: Tensor, y: Tensor, counts: Sequence[int], rows: Batches
    ) -> Iterator[StackedBatch]:
        """Yield the batches of rows that lie on the device, those of all tasks one below the other.

        counts: rows of each task
        """
        num, _, size = self.index.shape
        offsets = torch.from_numpy(np.cumsum([0, *counts[:-1]]))
        steps = (self.index + offsets[:, None, None]).transpose(0, 1).flatten(1).to(rows.device)
        shares, y = self._shares(rows), rows.labels(y)
        for now, index in enumerate(steps):
            x_now, y_now = rows.inputs(x.index_select(0, index)), y.index_select(0, index)
            yield StackedBatch(
                x_now.unflatten(0, (num, size)),
                y_now.unflatten(0, (num, size)),
                shares[:, now],
                self.sizes[:, now],
            )

    def _shares(self, rows: Batches) -> Tensor:
        """Return the weight of each row in its batch, in the module's own type.

        It is 0 for the rows that fill up.
        """
        is_row = np.arange(self.index.shape[2]) < self.sizes[..., None]
        shares = is_row / np.maximum(self.sizes, 1)[..., None]
        return torch.from_numpy(shares).to(rows.device, rows.dtype)


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


def _joined(tasks: Sequence[TrainingTask], rows: Batches) -> tuple[Tensor, Tensor] | None:
    """Return rows and labels of all tasks on the device, or None where they do not stay there."""
    if rows.kept is None:
        return None
    x, y = (rows.kept.joined([task.data[part] for task in tasks]) for part in (0, 1))
    return None if x is None or y is None else (x, y)


def _gathered(sources: Sequence[Tensor], index: Tensor, rows: Batches) -> Tensor:
    """Return the rows at each line of an index, in the type that the module takes."""
    is_as_given = rows.row_scale == 1 and not rows.takes_numbers
    if not is_as_given or any(x.dtype != rows.dtype for x in sources):
        return torch.stack([rows.inputs(x[i]) for x, i in zip(sources, index, strict=True)])
    found = sources[0].new_empty(*index.shape, *sources[0].shape[1:])
    for x, i, into in zip(sources, index, found, strict=True):
        torch.index_select(x, 0, i, out=into)
    return found
