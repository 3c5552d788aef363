"""A first pass of a model over a few rows, and the cause where it fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from fusion_nb.errors import ModelError


def checked_output(forward: Callable[[], Any], x: Tensor, when: str) -> Tensor:
    """Return a model's output for some rows.

    Raises ModelError where the rows don't fit, or the output is no single tensor.
    """
    try:
        output = forward()
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        # Where torch itself complains, the rows don't fit; anything else is a bug in the user's
        # forward().
        if not raised_by_torch(error):
            raise
        hint = "match the first layer to the rows, or the rows to it"
        raise ModelError(
            f"{when}the model does not take rows of shape {tuple(x.shape[1:])}: "
            f"{first_line(error)}",
            f"{hint} (images need a channel axis for Conv2d)" if x.ndim == 3 else hint,
        ) from error
    if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != len(x):
        what = (
            f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        )
        raise ModelError(
            f"{when}for {len(x)} rows the model returns {what}",
            "return one tensor with one entry a row",
        )
    return output


def raised_by_torch(error: Exception) -> bool:
    """Return whether torch itself complained, and not the user's own forward()."""
    return "torch" in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().splitlines()[0]
