"""Rows as batches of tensors, in the type and on the device that a module takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_convert

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds
from fusion_nb.core.items import odd_row
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import DataError, FusionError, ModelError, Stopped
from fusion_nb.models.torch import trees
from fusion_nb.models.torch.devices.kept_rows import DeviceRows

Form = Literal["pair", "weighted", "whole"]


def _next(loader: Iterator[Any], data: Any, positions: list[int]) -> Any:
    """Return the next batch. Raises DataError that names a row which does not fit the others."""
    try:
        return next(loader)
    except (FusionError, Stopped):
        raise
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        if odd := odd_row(data, positions):
            raise odd from error
        raise


@dataclass(frozen=True)
class Batches:
    """How one module takes its rows.

    dtype, device: of its inputs, and of labels that are measurements
    min_rows:      rows that a batch of training must have at least
    form:          "pair" for (x, y), "weighted" for (x, (y, weights)), or "whole" for the batch as
                   the data gives it
    takes_numbers: whether rows of whole numbers stay whole, for an Embedding
    row_scale, label_scale: numbers of other rows, and of labels, are divided by them
    part_scales:   the same by the name of a part of rows that have several
    """

    dtype: torch.dtype
    device: torch.device
    min_rows: int = 1
    takes_numbers: bool = False
    form: Form = "pair"
    row_scale: float = 1.0
    label_scale: float = 1.0
    part_scales: Mapping[str, float] = field(default_factory=dict)
    kept: DeviceRows | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_schema(
        cls, schema: DataSchema, dtype: torch.dtype, device: torch.device, min_rows: int = 1
    ) -> Batches:
        """Return how a module takes rows of a schema; no batch or party decides more."""
        return cls(
            dtype,
            device,
            min_rows,
            row_scale=schema.rows.scale,
            part_scales={
                name: part.scale
                for name, part in zip(schema.rows.columns, schema.rows.parts, strict=False)
                if part.scale != 1
            },
            label_scale=schema.labels.scale,
            kept=DeviceRows.on(device),
        )

    def of(self, data: Any, batches: list[np.ndarray], seed: int = 0) -> Iterator[tuple[Any, Any]]:
        """Yield (x, y) on the device for each array of row indices.

        Of rows of several parts, x is a tuple or a dict of tensors. With `form`, y is a pair of
        labels and weights, or x is the whole batch.
        seed: fixes the random numbers of a Dataset
        """
        if isinstance(data, tuple) and self.form == "whole":
            for x, y in replace(self, form="pair").of(data, batches):
                yield (x, y), y
            return
        if isinstance(data, tuple) and isinstance(data[0], tuple | dict):
            for rows in batches:
                yield self._formed(default_convert(rows_of.take(data, rows)))
            return
        if isinstance(data, tuple) and (on_device := self._on_device_already(data)):
            yield from self._selected(*on_device, batches)
            return
        if isinstance(data, tuple):
            x = torch.from_numpy(np.ascontiguousarray(data[0]))
            y = self.labels(torch.from_numpy(data[1]))
            # Rows are converted by the batch, so that a round of few does not convert all of them.
            for batch in batches:
                own = self._at(torch.from_numpy(batch), x, y)
                yield self._placed(own[0]), self._placed(own[1])
            return
        shared = seeds.SeededGlobalRandomness(seed, exclusive=True)
        # A generator of its own: without one a DataLoader draws from the user's.
        sampler = [batch.tolist() for batch in batches]
        loader = iter(DataLoader(data, batch_sampler=sampler, generator=torch.Generator()))
        for positions in sampler:
            with shared:
                batch = _next(loader, data, positions)
            if (
                isinstance(batch, list | tuple)
                and len(batch) == 2
                and all(isinstance(b, Tensor) for b in batch)
                and self.form == "pair"
            ):
                yield self.inputs(batch[0]).to(self.device), self.labels(batch[1]).to(self.device)
            else:
                yield self._formed(batch)

    def _on_device_already(self, data: Any) -> tuple[Tensor, Tensor] | None:
        """Return rows and labels that stay on the device, or None."""
        if self.kept is None:
            return None
        x, y = (self.kept.of(part) for part in data[:2])
        return None if x is None or y is None else (x, self.labels(y))

    def _selected(
        self, x: Tensor, y: Tensor, batches: list[np.ndarray]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of rows that lie on the device; their positions go there at once."""
        index = torch.from_numpy(np.concatenate(batches)).to(self.device)
        for rows in index.split([len(batch) for batch in batches]):
            yield self._at(rows, x, y)

    def _at(self, index: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows and labels at some positions."""
        # It copies whole rows, and takes a third of the time of x[index].
        return self.inputs(x.index_select(0, index)), y.index_select(0, index)

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor if tensor.device == self.device else tensor.to(self.device)

    def _formed(self, batch: Any) -> tuple[Any, Any]:
        """Return (x, y) of a batch that is a tree, on the device."""
        if self.form == "whole":
            whole = self._on_device(batch)
            return whole, next(trees.tensors(whole))
        x, y = trees.split(batch)
        x, y = self._on_device(self._scaled(x)), self._label(y)
        if self.form == "weighted":
            return x, (y, self._label(batch[2]))
        return x, y

    def _scaled(self, x: Any) -> Any:
        """Return rows of several parts with those that are bytes of images scaled."""
        if not self.part_scales or not isinstance(x, dict | tuple | list):
            return x
        named = x.items() if isinstance(x, dict) else enumerate(x)
        scales = self.part_scales
        found = {
            name: part.to(self.dtype) / scales[str(name)] if str(name) in scales else part
            for name, part in named
        }
        return found if isinstance(x, dict) else tuple(found.values())

    def _label(self, y: Any) -> Tensor:
        if not isinstance(y, Tensor):
            raise ModelError(
                "a row of this Dataset is not a pair of numbers",
                "encode text, and return (x, y) from __getitem__; labels of several parts need a "
                "loss of (module, batch)",
            )
        return self.labels(y).to(self.device)

    def _on_device(self, tree: Any) -> Any:
        """Return a tree in which whole numbers stay whole, and others have the module's type."""
        if isinstance(tree, Tensor) and self.row_scale != 1:
            return self.inputs(tree).to(self.device)
        return trees.mapped(
            lambda t: t.to(self.device, self.dtype) if t.is_floating_point() else t.to(self.device),
            tree,
        )

    def shuffled(self, count: int, size: int, generator: torch.Generator) -> list[np.ndarray]:
        """Return the positions of `count` rows in a random order, in batches of a size.

        The last batch may be smaller.
        """
        batches = rows_of.chunks(torch.randperm(count, generator=generator).numpy(), size)
        if len(batches) > 1 and len(batches[-1]) < self.min_rows:
            batches[-2:] = [np.concatenate(batches[-2:])]
        return batches

    def inputs(self, x: Tensor) -> Tensor:
        """Return inputs in the type that the module takes.

        Raises DataError for other than whole numbers where the schema says that all are whole.
        """
        if self.takes_numbers:
            if x.is_floating_point() and not bool((x == x.round()).all()):
                raise DataError(
                    "some rows hold fractions, and those that were looked at before training were "
                    "whole numbers",
                    "give all of them as integers",
                )
            return x.long()
        x = x if x.dtype == self.dtype else x.to(self.dtype)
        return x if self.row_scale == 1 else x / self.row_scale

    def labels(self, y: Tensor) -> Tensor:
        """Return labels in the type that losses compare."""
        if self.label_scale != 1:
            return y.to(self.dtype) / self.label_scale
        return y.to(self.dtype) if y.is_floating_point() else y
