"""Pictures of rows beside each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusion_nb.reporting.charts.chart import WIDTH, Chart, own_settings
from fusion_nb.reporting.charts.drawing import drawn_name

#: Pixels of the smallest side that makes a row a picture, and inches of one picture.
_SMALLEST, _INCHES = 6, 2.1


def as_picture(row: np.ndarray) -> np.ndarray | None:
    """Return a row as an image (height, width) or (height, width, 3); None where it is none."""
    image = np.squeeze(np.asarray(row, np.float64))
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        image = np.moveaxis(image, 0, 2)
    is_grey, is_colour = image.ndim == 2, image.ndim == 3 and image.shape[2] == 3
    if not (is_grey or is_colour) or min(image.shape[:2]) < _SMALLEST:
        return None
    return image


@own_settings()
def pictures(images: Mapping[str, np.ndarray], alt: str) -> Chart:
    """Return images beside each other, each under its name.

    The first decides which numbers are black and white.
    """
    from matplotlib.figure import Figure

    first = next(iter(images.values()))
    low, high = float(first.min()), float(first.max())
    figure = Figure(figsize=(WIDTH, _INCHES + 0.4), layout="constrained")
    axes = figure.subplots(1, max(3, len(images)), squeeze=False)[0]
    for axis, (name, image) in zip(axes, images.items(), strict=False):
        shown = np.clip((image - low) / (high - low or 1.0), 0, 1)
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1)
        axis.set_title(drawn_name(name), fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    return Chart(figure, alt)
