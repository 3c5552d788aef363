"""The batches of several trainings side by side, with those that are shorter filled up with rows that don't count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusion_nb.models.torch.batches import Batches
from fusion_nb.types import Training

#: Bytes of rows that are laid out at a time.
_WINDOW = 4 << 20


@dataclass(frozen=True)
class Plan:
    """Which rows each of several trainings sees in each step, exactly as it would alone.

    index:    (trainings, steps, batch size) positions of rows
    shares:   of the same shape: what a row counts in its batch, 0 for those that fill up
    steps:    how many steps each takes;  last: the first step of each one's last pass
    """

    index: Tensor
    shares: Tensor
    steps: list[int]
    last: list[int]

    @classmethod
    def of(cls, trainings: Sequence[Training], rows: Batches) -> Plan:
        """Return the plan of trainings with one size of batch."""
        planned = [_batches(training, rows) for training in trainings]
        steps = [len(batches) for batches, _ in planned]
        widest = max(len(batch) for batches, _ in planned for batch in batches)
        index = np.zeros((len(planned), max(steps), widest), np.int64)
        shares = np.zeros(index.shape, np.float32)
        for i, (batches, _) in enumerate(planned):
            for step, batch in enumerate(batches):
                index[i, step, : len(batch)] = batch
                shares[i, step, : len(batch)] = 1 / len(batch)
        return cls(torch.from_numpy(index), torch.from_numpy(shares), steps, [last for _, last in planned])

    def mean_losses(self, losses: Tensor) -> list[float]:
        """Return the mean over the rows of each last pass, from the means over the batches (steps, trainings)."""
        sizes = (self.shares > 0).sum(2).double()
        found = []
        for i, (last, steps) in enumerate(zip(self.last, self.steps, strict=True)):
            size = sizes[i, last:steps]
            found.append(float((losses[last:steps, i].double() * size).sum() / size.sum()))
        return found

    def laid_out(self, trainings: Sequence[Training], rows: Batches) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """Yield, for each step, its number, x (trainings, batch size, ...), y and shares."""
        num, num_steps, size = self.index.shape
        sources = [(torch.from_numpy(t.data[0]), rows.labels(torch.from_numpy(t.data[1]))) for t in trainings]
        each = num * size * sources[0][0][:1].numel() * rows.dtype.itemsize
        span = max(1, min(num_steps, _WINDOW // max(each, 1)))
        shares = self.shares.to(rows.device, rows.dtype)
        for start in range(0, num_steps, span):
            index = self.index[:, start : start + span].flatten(1)
            x = torch.stack([rows.inputs(x[i]) for (x, _), i in zip(sources, index, strict=True)]).to(rows.device)
            y = torch.stack([y[i] for (_, y), i in zip(sources, index, strict=True)]).to(rows.device)
            for step in range(index.shape[1] // size):
                part = slice(step * size, (step + 1) * size)
                yield start + step, x[:, part], y[:, part], shares[:, start + step]


def _batches(training: Training, rows: Batches) -> tuple[list[np.ndarray], int]:
    """Return the batches of all passes of a training, and where the last pass begins."""
    options, count = training.options, len(training.data[0])
    shuffler = torch.Generator().manual_seed(options["seed"])
    steps, epochs = options.get("steps", 0), options["epochs"]
    batches: list[np.ndarray] = []
    last = 0
    while (len(batches) < steps) if steps else (epochs > 0):
        last, epochs = len(batches), epochs - 1
        batches += rows.shuffled(count, options["batch_size"], shuffler)
    return batches[:steps] if steps else batches, last
