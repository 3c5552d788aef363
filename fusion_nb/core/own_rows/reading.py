"""Rows of data sets of the user's own: what their code raises names the row, and ends no kernel."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.process.foreign_errors import is_interrupt, text_of
from fusion_nb.errors import DataError, FusionError, Stopped, option, private

#: Rows that a data set may declare, and the environment variable that raises their number: labels
#: of all rows are read one by one.
MOST_ROWS, VARIABLE = 10**8, "FUSION_NB_MAX_ROWS"


class LengthError(DataError):
    """A data set of the user's own does not tell a number of rows that can be read."""


def read_row(data: Any, row: int, where: str) -> Any:
    """Return a row of a data set, with exceptions of the user's own code as DataError."""
    try:
        return data[row]
    except (FusionError, Stopped):
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise DataError(
            f"{where} can't be read: {_said(error)}",
            f"mend or drop the row; {option('quorum', 0.5)} lets rounds go on without the parties "
            "that fail",
        ) from error


def size_of(data: Any) -> int:
    """Return the number of rows of a data set.

    Raises LengthError where it can't tell, or declares more than can be read one by one.
    """
    try:
        found = len(data)
    except (FusionError, Stopped):
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise LengthError(
            f"the data set does not tell its length: {_said(error)}",
            "let __len__ return the number of rows",
        ) from error
    if found > MOST_ROWS and found > _most_rows():
        raise LengthError(
            f"the data set declares {found:,} rows by __len__, and {_most_rows():,} are allowed "
            "where rows are read one by one",
            "let __len__ return the number of rows, or give arrays; the environment variable "
            f"{VARIABLE}={found} allows it",
        )
    return found


def _most_rows() -> int:
    given = os.environ.get(VARIABLE, "").replace("_", "")
    return max(MOST_ROWS, int(given) if given.isdecimal() else 0)


def form_of(value: Any) -> str:
    """Return the form of a row in words, by which it is compared with others."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {form_of(part)}' for name, part in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(form_of, value))})"
    if isinstance(value, bool | int | float | np.generic):
        return "a number"
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"of shape {tuple(shape)}"


def _said(error: BaseException) -> str:
    """Return an exception of the user's own code in words, with its place."""
    text = text_of(error)
    said = f"{type(error).__name__}: {private(text)}" if text else type(error).__name__
    return f"{said}{_line_of(error)}"


def _line_of(error: BaseException) -> str:
    """Return the file and line where an exception of the user's own code was raised, as words."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is that of this module
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
