"""A limit on the memory that a model from a file takes when it is run.

A file of a few hundred bytes can hold a layer without weights that makes gigabytes of a few rows: a
padding of 50,000 pixels, say. So the outputs of all operations are counted before the first pass.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusion_nb.core.files import file_sizes
from fusion_nb.errors import ModelError

#: A pass over a few rows may always make this number of bytes.
_ALWAYS_ALLOWED = 4 * 2**30
#: Rows of a first pass, and those of a batch of evaluation, where all outputs but the largest are
#: gone again.
_TRIED, _EVALUATED = 32, 128

#: The file of each model that was read from one, by the model's identity: a class of the user's
#: may have no hash.
_sources: dict[int, Path] = {}


def note_source(model: Any, path: Path) -> None:
    """Note that a model was read from a file, so that it is not trusted."""
    _sources[id(model)] = path
    weakref.finalize(model, _sources.pop, id(model), None)


def copied_source(copy: Any, model: Any) -> Any:
    """Return the copy of a model, of which the same file is noted."""
    path = source_of(model)
    if path is not None:
        note_source(copy, path)
    return copy


def source_of(model: Any) -> Path | None:
    """Return the file that a model was read from, or None for one of the user's own."""
    return _sources.get(id(model))


def limit() -> int:
    """Return the bytes that a pass may make: half of the machine's memory, and 4 GiB at least.

    `FUSION_NB_MAX_UNPACKED` can raise it.
    """
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        memory = 0
    return file_sizes.limit_for(0, max(_ALWAYS_ALLOWED, memory // 2))


class Activations:
    """Adds up the outputs of a model's operations in one pass.

    path:        of the model's file
    num_rows:    rows of the pass; an evaluation has up to four times as many
    is_training: whether the pass is one of training, which keeps the outputs
    """

    def __init__(self, path: Path, num_rows: int, is_training: bool) -> None:
        self.is_training = is_training
        self._refusal: TooManyActivationsError | None = None
        self.total = 0
        self._path = path
        self._num_rows = num_rows
        self._scale = _EVALUATED // _TRIED if num_rows >= _TRIED else 1
        self._limit = limit()

    def add(self, count: int, where: str) -> None:
        """Add the bytes of an operation's outputs.

        where: the operation, as users know it
        Raises TooManyActivationsError where they, or all together, are above the limit.
        """
        self.check()  # Keras tries again in another way
        self.total += count
        self.check_single(count, where)
        if self.is_training and self.total > self._limit:
            self._refuse(self.total, self._num_rows, f"it would, up to {where},")

    def check_single(self, count: int, where: str) -> None:
        """Raise TooManyActivationsError where one operation's bytes are above the limit."""
        if count * self._scale > self._limit:
            self._refuse(count * self._scale, self._num_rows * self._scale, f"its {where} would")

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Raise only TooManyActivationsError out of a pass: the one that follows says the rest."""
        try:
            yield
        except Exception:
            self.check()

    def check(self) -> None:
        """Raise the error of this pass, if there was one: Keras raises errors in other words."""
        if self._refusal is not None:
            raise self._refusal from None

    def _refuse(self, count: int, num_rows: int, subject: str) -> None:
        self._refusal = TooManyActivationsError(
            f"{self._path} is refused: {subject} make {file_sizes.spelled(count)} of {num_rows} "
            f"rows, and a model from a file may make {file_sizes.spelled(self._limit)}",
            f"if you trust it, set the environment variable {file_sizes.VARIABLE}={count} (bytes)",
        )
        raise self._refusal


class TooManyActivationsError(ModelError):
    """A model from a file would take more memory than is allowed when it is run."""
