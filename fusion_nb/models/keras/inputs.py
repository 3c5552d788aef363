"""The rows of a data set in the form that a Keras model takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np

from fusion_nb.core import seeds
from fusion_nb.core.schema import DataSchema, RowSchema
from fusion_nb.errors import DataError
from fusion_nb.models.keras import probe, trees


@dataclass(frozen=True)
class Inputs:
    """How one model takes its rows, as float32 in the model's shape.

    shape:        of a row, None for any size; or None where the model doesn't say
    num_words:    input size of the Embedding that the model begins with, or 0
    scale:        numbers of rows are divided by it; 1 where the model scales them itself
    part_scales:  the same by the name of an input, of rows of several arrays
    """

    shape: tuple[int | None, ...] | None
    num_words: int
    scale: float = 1.0
    part_scales: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, model: keras.Model, schema: DataSchema) -> Inputs:
        """Return how a model takes rows of a schema; the shape is known once it is built."""
        num_words = probe.embedding_size(model)
        is_as_given = num_words or probe.scales_itself(model)
        if is_as_given:
            return cls(input_shape(model), num_words)
        rows = schema.rows
        scales = {name: part.scale for name, part in zip(rows.columns, rows.parts, strict=False)}
        return cls(input_shape(model), num_words, rows.scale, scales)

    def batches(
        self, data: Any, batches: list[np.ndarray], seed: int = 0
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (x, y, weights) for each array of row indices, y as it is stored.

        weights: of the rows, or None where rows are pairs (x, y)
        seed: fixes the random numbers of a Dataset
        """
        shared = seeds.SeededGlobalRandomness(seed, exclusive=True)
        for batch in batches:
            if isinstance(data, tuple):
                x, y, weights = trees.taken(data, batch)
            else:
                with shared:
                    rows = [data[int(index)] for index in batch]
                x, y, weights = trees.collated(rows)
            yield self.bring(x), y, weights

    def bring(self, x: Any) -> Any:
        """Return rows in the model's shape; of several arrays, each in its own.

        Raises DataError for values that are no numbers, or that the Embedding does not know.
        """
        if trees.is_tree(x):
            named = x.items() if isinstance(x, dict) else enumerate(x)
            found = {
                name: trees.mapped(partial(_of_several, self.part_scales.get(str(name), 1.0)), part)
                for name, part in named
            }
            return found if isinstance(x, dict) else tuple(found.values())
        _check_numbers(x)
        if self.num_words and len(x):
            self._check_words(x.min(), x.max())
        brought = bring(x, self.shape).astype(np.float32)
        return brought if self.scale == 1 else brought / np.float32(self.scale)

    def check_words(self, rows: RowSchema) -> None:
        """Raise DataError where the rows of a party hold numbers that the Embedding lacks."""
        if self.num_words and rows.low is not None and rows.high is not None:
            self._check_words(rows.low, rows.high)

    def notes(self, rows: RowSchema) -> list[str]:
        """Return the changes to rows, as sentences."""
        is_scaled = self.scale != 1 or any(scale != 1 for scale in self.part_scales.values())
        notes = [rows.scale_note] if is_scaled else []
        if rows.kind != "structured" and self.shape and not fits(rows.shape, self.shape):
            notes.append(f"rows: {rows.shape} brought to the model's {self.shape}")
        return notes

    def _check_words(self, low: float, high: float) -> None:
        if not 0 <= low <= high < self.num_words:
            raise DataError(
                f"the rows hold numbers from {low:g} to {high:g}, and the model's Embedding knows "
                f"0 to {self.num_words - 1}",
                "give the Embedding a larger input_dim",
            )


def _of_several(scale: float, x: np.ndarray) -> np.ndarray:
    """Return one of several arrays, in which whole numbers stay whole unless they are scaled."""
    _check_numbers(x)
    if scale != 1:
        return x.astype(np.float32) / np.float32(scale)
    return x.astype(np.float32) if x.dtype.kind == "f" else x


def _check_numbers(x: np.ndarray) -> None:
    if x.dtype == object or x.dtype.kind not in "biuf":
        raise DataError(f"the rows hold {x.dtype}, not numbers", "turn them into numbers first")


def input_shape(model: keras.Model) -> tuple[int | None, ...] | None:
    """Return the shape of a row that the model takes, with None for any size; or None.

    The result is None where the model doesn't say.
    """
    try:
        shape = model.input_shape
    except (AttributeError, ValueError):  # a subclass, or a model that is not built yet
        return None
    is_one = isinstance(shape, tuple) and not any(isinstance(size, tuple) for size in shape)
    return tuple(shape[1:]) if is_one else None


def fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Return whether the model takes rows of a shape."""
    return len(shape) == len(wanted) and all(
        want in (None, size) for size, want in zip(shape, wanted, strict=True)
    )


def bring(x: np.ndarray, wanted: tuple[int | None, ...] | None) -> np.ndarray:
    """Return rows in the model's shape: channels moved, or an axis of size one added or removed.

    (N, 1, 28, 28), (N, 28, 28) and (N, 28, 28, 1) become each other, and any of them (N, 784).
    Raises DataError, with both shapes, where that is not enough.
    """
    shape = x.shape[1:]
    if wanted is None or fits(shape, wanted):
        return x
    if len(shape) == 3 and fits((*shape[1:], shape[0]), wanted):
        return np.ascontiguousarray(np.moveaxis(x, 1, -1))
    if len(shape) == 3 and fits((shape[-1], *shape[:-1]), wanted):
        return np.ascontiguousarray(np.moveaxis(x, -1, 1))
    if len(shape) == 3 and 1 in (shape[0], shape[-1]) and len(wanted) == 2:
        return bring(x.reshape(len(x), *(shape[1:] if shape[0] == 1 else shape[:-1])), wanted)
    if fits((*shape, 1), wanted) or fits((1, *shape), wanted):
        return x.reshape(len(x), *((*shape, 1) if fits((*shape, 1), wanted) else (1, *shape)))
    if len(shape) > 1 and wanted == (int(np.prod(shape)),):
        return x.reshape(len(x), -1)
    raise DataError(
        f"rows have shape {shape} and the model takes {wanted}",
        "match the model's first layer to the rows, or the rows to it",
    )
