"""Data sets that give single rows are looked at from the first to the last of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from torch.utils.data import Dataset

from fusion_nb.core.items import read_labels
from fusion_nb.data.loading import Source
from fusion_nb.errors import DataError

Read = Callable[..., Source]
Y = np.arange(40) % 2
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)


class Stored(Dataset[Any]):
    """A data set whose labels are at hand as `targets`; it counts the rows that are read."""

    def __init__(self, x: Any, labels: Sequence[float] = tuple(Y.tolist())) -> None:
        self.x, self.given, self.targets = x, labels, Y.tolist()
        self.num_read = 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> Any:
        self.num_read += 1
        return self.x[row], self.given[row]


class Unstored(Dataset[Any]):
    def __init__(self, x: Any) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> Any:
        return self.x[row], int(Y[row])


@pytest.mark.parametrize("num_dark", [5, 20, 38])
def test_images_after_dark_ones_are_still_images(read: Read, num_dark: int) -> None:
    dark = IMAGES.copy()
    dark[:num_dark] = 0
    rows = Stored(dark)
    assert read(rows).schema.rows.kind == "image bytes"
    assert rows.num_read < 10


@pytest.mark.parametrize("first_other", [6, 20, 39])
def test_stored_labels_that_differ_later_are_not_used(read: Read, first_other: int) -> None:
    labels = Y + 0.5 * (np.arange(40) >= first_other)
    source = read(Stored(IMAGES, labels.tolist()))
    assert source.labels["", "train"].tolist() == labels.tolist()
    assert source.schema.labels.kind == "numbers"


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6])
def test_few_rows_are_all_looked_at(count: int) -> None:
    rows = Stored(IMAGES[:count])
    rows.targets = rows.targets[:count]
    labels, facts = read_labels(rows)
    assert labels.tolist() == Y[:count].tolist()
    assert rows.num_read == min(count, 5)
    assert facts.high == max(IMAGES[row].max() for row in range(count))


@pytest.mark.parametrize(("bad", "kind"), [(np.nan, "NaN or infinite"), (-np.inf, "NaN or inf")])
@pytest.mark.parametrize("row", [0, 33])
def test_a_row_that_is_not_finite_is_named(read: Read, bad: float, kind: str, row: int) -> None:
    x = IMAGES.astype(np.float32)
    x[row, 2, 2] = bad
    with pytest.raises(DataError, match=f"value .*: row {row} of the data set holds {kind}"):
        read(Unstored(x))
    with pytest.raises(DataError, match=f"^south: row {row} of the data set holds {kind}"):
        read({"north": Unstored(IMAGES / np.float32(9)), "south": Unstored(x)})


def test_a_row_that_is_masked_is_named(read: Read) -> None:
    x = np.ma.masked_array(IMAGES / 255, mask=False)
    assert read(Unstored(x)).schema.rows.kind == "numbers"
    x[12, 0, 0] = np.ma.masked
    with pytest.raises(DataError, match="row 12 of the data set holds masked values"):
        read(Unstored(x))


def test_an_input_of_several_that_is_not_finite_is_refused(read: Read) -> None:
    x = IMAGES[:, 0].astype(np.float32)
    x[39] = np.nan
    rows = [({"a": row, "b": row * 2}, int(y)) for row, y in zip(x, Y, strict=True)]

    class Dicts(Unstored):
        def __getitem__(self, row: int) -> Any:
            return self.x[row]

    with pytest.raises(DataError, match="row 39 of the data set holds NaN"):
        read(Dicts(rows))
    with pytest.raises(DataError, match="row 39 of the data set holds NaN"):
        read(Dicts([row[0] | {"label": row[1]} for row in rows]))


@pytest.mark.parametrize("dtype", ["int64", "float64", "float32", "int16"])
@pytest.mark.parametrize("x", [IMAGES, IMAGES.reshape(40, 64)])
def test_pixels_in_another_dtype_give_a_note(read: Read, dtype: str, x: np.ndarray) -> None:
    notes = read((x.astype(dtype), Y)).notes
    is_flat_integer = x.ndim == 2 and dtype.startswith("int")  # tokens, perhaps
    assert any("divide them by 255" in note for note in notes) != is_flat_integer
    assert not any("divide" in n for n in read((x.astype(dtype) - 9, Y)).notes)
    assert not any("divide" in n for n in read((x.astype(dtype) + 0.5, Y)).notes)
