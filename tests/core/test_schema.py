"""The schema says what rows and labels are, by the facts about all of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fusion_nb.core.schema import DataSchema

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
Y = np.arange(40) % 3
PIXELS = RNG.integers(0, 256, (40, 8, 8)).astype(np.uint8)


def rows_of(x: Any) -> Any:
    return DataSchema.of((x, Y[: len(x)])).rows


def labels_of(y: Any, x: Any = X) -> Any:
    return DataSchema.of((x, y)).labels


@pytest.mark.parametrize(
    ("x", "kind", "scale"),
    [
        (PIXELS, "image bytes", 255),
        (PIXELS[:, None], "image bytes", 255),
        (PIXELS.reshape(40, 64), "image bytes", 255),
        ((PIXELS > 99).astype(np.uint8) * 255, "image bytes", 255),
        (RNG.integers(0, 2, (40, 12)).astype(np.uint8), "flags", 1),
        (RNG.integers(0, 2, (40, 8, 8)).astype(np.uint8), "flags", 1),
        (RNG.integers(0, 3, (40, 100)).astype(np.uint8), "whole numbers", 1),
        (RNG.integers(0, 3, (40, 50, 2)).astype(np.uint8), "whole numbers", 1),
        (RNG.integers(0, 256, (40, 12)).astype(np.uint8), "whole numbers", 1),
        (RNG.integers(0, 100, (40, 200)).astype(np.uint8), "whole numbers", 1),
        (PIXELS.astype(np.float32), "whole numbers", 1),
        (PIXELS.astype(np.float32) / 255, "numbers", 1),
        (X, "numbers", 1),
        (np.arange(80).reshape(40, 2), "whole numbers", 1),
    ],
)
def test_only_what_looks_like_pixels_is_scaled(x: np.ndarray, kind: str, scale: float) -> None:
    found = rows_of(x)
    assert (found.kind, found.scale) == (kind, scale)
    assert bool(found.scale_note) == (scale != 1)


@pytest.mark.parametrize(
    ("y", "kind", "shape"),
    [
        (Y, "classes", ()),
        (Y[:, None], "classes", ()),
        (Y.astype(float), "classes", ()),
        (Y > 1, "classes", ()),
        (np.eye(3)[Y], "classes", ()),
        (Y + 0.5, "numbers", ()),
        (np.arange(40) * 1000.0, "classes", ()),
        (RNG.normal(size=(40, 2)), "numbers", (2,)),
        (RNG.integers(0, 2, (40, 4)), "flags", (4,)),
        (RNG.integers(0, 5, (40, 8, 8)), "classes", (8, 8)),
        (RNG.integers(0, 2, (40, 8, 8)) * 255, "mask", (8, 8)),
        (RNG.integers(0, 2, (40, 1, 8, 8)).astype(np.uint8) * 255, "mask", (1, 8, 8)),
        (RNG.integers(0, 2, (40, 8, 8)) * 255.0, "mask", (8, 8)),
        (RNG.dirichlet(np.ones(3), 40), "shares", (3,)),
        (RNG.dirichlet(np.ones(3), 40).astype(np.float16), "shares", (3,)),
        (np.full(40, np.nan), "none", ()),
    ],
)
def test_kinds_of_labels(y: np.ndarray, kind: str, shape: tuple[int, ...]) -> None:
    found = labels_of(y)
    assert (found.kind, found.shape) == (kind, shape)
    assert found.scale == (255 if kind == "mask" else 1)


def test_rows_of_one_hot_labels_keep_the_number_of_columns() -> None:
    found = labels_of(np.eye(5)[Y])
    assert (found.one_hot, found.values, found.low, found.high) == (5, (0, 1, 2, 3, 4), 0, 4)
    assert found.numbered(np.eye(5)[Y]).tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (PIXELS, "rows"),
        (PIXELS.reshape(40, 64), "rows"),
        (PIXELS.astype(np.float32), "rows"),
        (255 - PIXELS, "rows"),
        (PIXELS % 21, "classes"),
        (np.where(PIXELS > 250, 255, PIXELS % 21).astype(np.uint8), "classes"),
        ((PIXELS > 99).astype(np.uint8) * 255, "mask"),
        (PIXELS.astype(np.float32) / 255, "numbers"),
    ],
)
def test_labels_that_are_pixels_are_scaled_with_the_rows(y: np.ndarray, kind: str) -> None:
    found = labels_of(y, PIXELS)
    assert found.kind == kind
    assert (found.scale == 255) == (kind in ("rows", "mask"))


@pytest.mark.parametrize("count", [20, 30_000])
def test_a_number_that_a_loss_ignores_is_left_out(count: int) -> None:
    y = np.append(np.arange(count), -100)
    found = labels_of(y, np.zeros((len(y), 1))).without(-100)
    assert (found.low, found.high) == (0, count - 1)
    assert labels_of(np.array([[0, 1], [255, 1]]), X[:2]).without(255).are_binary


@pytest.mark.parametrize("y", [Y, np.eye(3)[Y], RNG.dirichlet(np.ones(3), 40)])
def test_a_schema_survives_json(y: np.ndarray) -> None:
    made = DataSchema.of((X, y))
    assert DataSchema.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_other_meanings_are_told_and_other_ranges_are_not() -> None:
    first = DataSchema.of((PIXELS, Y))
    assert first.differences(DataSchema.of((PIXELS[:30], Y[:30]))) == []
    told = first.differences(DataSchema.of((PIXELS / 255, Y)))
    assert any("rows: scale was 255.0, and is 1.0" in line for line in told)
