"""The rules by which the meaning of data is guessed: what is a pixel, and what is a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_nb.core.facts import Facts

#: Whole-numbered floats with at most this many different values are read as classes.
_MAX_FLOAT_CLASSES = 100
#: Bytes of rows with several axes are pixels from this value on.
_MIN_PIXEL = 32
#: Bytes of flat rows are pixels from this value on, where a row has at least this number of them.
MIN_FLAT_PIXEL, MIN_FLAT_SIZE = 128, 64
#: Groups of names that one sentence lists.
_SHOWN = 3


def equal_rows(x: np.ndarray, y: np.ndarray) -> bool:
    """Return whether every label is its row, perhaps in another shape."""
    if x.size != y.size or x.shape[:1] != y.shape[:1] or y.ndim < 2 or x.dtype.kind not in "biuf":
        return False
    return y.dtype.kind in "biuf" and bool((x.reshape(y.shape) == y).all())


def are_pixels(facts: Facts) -> bool:
    """Return whether whole numbers up to 255 look like those of an image."""
    high, axes = facts.high or 0, [size for size in facts.shape if size > 1]
    if len(axes) > 1:
        return high >= _MIN_PIXEL
    return high >= MIN_FLAT_PIXEL and int(np.prod(facts.shape)) >= MIN_FLAT_SIZE


def same_shape(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether labels have the shape of rows, perhaps but for axes of size one."""
    return bool(shape) and [n for n in shape if n > 1] == [n for n in other if n > 1]


def name_classes(facts: Facts) -> bool:
    """Return whether labels name classes: integers, or few whole-numbered floats."""
    if facts.are_integers:
        return True
    return facts.is_whole and len(facts.values or range(1000)) <= _MAX_FLOAT_CLASSES


def doubtful_names(names: Sequence[str]) -> str:
    """Return in words which names are blank, or differ from another in spaces or case only.

    It is "" where there is no doubt.

    >>> doubtful_names(["no", "No ", "yes"])
    "'no' and 'No ' differ in spaces or case only"
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.split()).casefold(), []).append(name)
    blank = groups.pop("", [])
    alike = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    found = [f"{', '.join(map(repr, blank))} is blank (fill or drop such rows)"] if blank else []
    if alike:
        more = ", ..." if len(alike) > _SHOWN else ""
        found.append(f"{', '.join(alike[:_SHOWN])}{more} differ in spaces or case only")
    return "; ".join(found)
