"""Images that are turned, by another angle at each party."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core.protocols import Place, Skew
from fusion_nb.errors import SplitError


class Rotation(Skew):
    """Turn the images of each party, in groups of parties: the g-th by (g - 1) times the angle.

    Party i belongs to group i modulo `groups`. Angles that are no quarter turn take the nearest
    pixel; corners that come from outside have the least number.

    Source: Ghosh, Chung, Yin, Ramchandran, "An Efficient Framework for Clustered Federated
    Learning", NeurIPS 2020 (Rotated MNIST: 0, 90, 180 and 270 degrees).
    """

    def __init__(
        self,
        *,
        angle: Annotated[
            float, Field(description="degrees between one group and the next", gt=0, lt=360)
        ] = 90.0,
        groups: Annotated[int, Field(description="groups of parties", ge=2)] = 4,
    ) -> None:
        self._angle, self._groups = angle, groups

    def rows(self, x: np.ndarray, place: Place) -> np.ndarray:
        """Return the images turned."""
        if x.ndim < 3:
            raise SplitError(
                f"the split 'rotation' turns images, and these rows are {_form(x)}",
                "give images as (rows, height, width), perhaps with channels; or use "
                "feature_noise or domains",
                option="split",
                value="rotation",
            )
        angle = self._angle * (place.number % self._groups) % 360
        height, width = axes(x.shape)
        if angle % 90 == 0 and (angle % 180 == 0 or x.shape[height] == x.shape[width]):
            return np.rot90(x, int(angle // 90), (height, width))
        return _turned(x, angle, height, width, place.low)

    def describe(self, num_parties: int) -> str:
        """Return the angles."""
        angles = [f"{self._angle * i % 360:g}" for i in range(min(self._groups, num_parties))]
        return f"images are turned by {', '.join(angles)} degrees, at one party after the other"


def axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the axes of height and width: the last two, unless the last one holds channels.

    >>> axes((10, 28, 28)), axes((10, 3, 32, 32)), axes((10, 32, 32, 3))
    ((1, 2), (2, 3), (1, 2))
    """
    has_channels_last = len(shape) == 4 and shape[-1] <= 4 < shape[1]
    return (1, 2) if has_channels_last else (len(shape) - 2, len(shape) - 1)


def _form(x: np.ndarray) -> str:
    return f"{x.shape[1]} numbers each" if x.ndim == 2 else "single numbers"


def _turned(x: np.ndarray, angle: float, height: int, width: int, low: float) -> np.ndarray:
    """Return images turned against the clock about their centre, by the nearest pixel."""
    rows, columns = x.shape[height], x.shape[width]
    y, z = np.mgrid[:rows, :columns]
    y, z = y - (rows - 1) / 2, z - (columns - 1) / 2
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    from_y = np.rint(cos * y + sin * z + (rows - 1) / 2).astype(int)
    from_z = np.rint(cos * z - sin * y + (columns - 1) / 2).astype(int)
    inside = (from_y >= 0) & (from_y < rows) & (from_z >= 0) & (from_z < columns)
    moved = np.moveaxis(x, (height, width), (-2, -1))
    found = moved[..., np.clip(from_y, 0, rows - 1), np.clip(from_z, 0, columns - 1)]
    found = np.where(inside, found, np.asarray(low, x.dtype))
    return np.moveaxis(found, (-2, -1), (height, width))
