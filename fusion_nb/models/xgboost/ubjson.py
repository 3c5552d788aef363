"""A reader of UBJSON, as XGBoost writes it: plain data, with no allocation that is only declared.

Source: the specification of UBJSON, draft 12 (ubjson.org); numbers are big-endian.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

#: Types of numbers -> numpy's name.
_NUMBERS = {
    "i": ">i1",
    "U": ">u1",
    "I": ">i2",
    "l": ">i4",
    "L": ">i8",
    "d": ">f4",
    "D": ">f8",
}
_CONSTANTS = {"Z": None, "T": True, "F": False}
_MAX_DEPTH = 60


def read(raw: bytes) -> Any:
    """Return the value in UBJSON. Raises ValueError for bytes that are none."""
    reader = _Reader(raw)
    return reader.value(reader.take(1), 0)


class _Reader:
    """Reads values one after the other; a count is never larger than the bytes that are left."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0
        #: Values that take no byte of their own, and may still be made.
        self._free = len(raw)

    def take(self, count: int) -> str:
        return self.take_bytes(count).decode()

    def take_bytes(self, count: int) -> bytes:
        if not 0 <= count <= len(self._raw) - self._at:
            raise ValueError("it ends too early")
        self._at += count
        return self._raw[self._at - count : self._at]

    def _peek(self) -> str:
        return self._raw[self._at : self._at + 1].decode("latin-1")

    def value(self, marker: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if marker in _NUMBERS:
            return self._numbers(marker, 1)[0]
        if marker in _CONSTANTS:
            self._free -= 1
            if self._free < 0:
                raise ValueError("it holds more values than bytes")
            return _CONSTANTS[marker]
        kinds: dict[str, Callable[[int], Any]] = {
            "S": lambda _: self._text(),
            "[": self._array,
            "{": self._object,
        }
        if marker not in kinds:
            raise ValueError(f"it holds an unknown type {marker!r}")
        return kinds[marker](depth + 1)

    def _numbers(self, marker: str, count: int) -> list[Any]:
        dtype = np.dtype(_NUMBERS[marker])
        return np.frombuffer(self.take_bytes(count * dtype.itemsize), dtype).tolist()

    def _whole(self) -> int:
        number = self.value(self.take(1), 0)
        if type(number) is not int or number < 0:
            raise ValueError("a count is no whole number")
        return number

    def _text(self) -> str:
        return self.take(self._whole())

    def _form(self) -> tuple[str, int | None]:
        """Return the type of all items and their count, where they are declared."""
        marker, count = "", None
        if self._peek() == "$":
            self.take(1)
            marker = self.take(1)
        if self._peek() == "#":
            self.take(1)
            count = self._whole()
        if marker and count is None:
            raise ValueError("a type without a count")
        return marker, count

    def _array(self, depth: int) -> list[Any]:
        marker, count = self._form()
        if marker in _NUMBERS and count is not None:
            return self._numbers(marker, count)
        found: list[Any] = []
        while self._goes_on(count, len(found), "]"):
            found.append(self.value(marker or self.take(1), depth))
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        marker, count = self._form()
        found: dict[str, Any] = {}
        number = 0
        while self._goes_on(count, number, "}"):
            name = self._text()
            found[name] = self.value(marker or self.take(1), depth)
            number += 1
        return found

    def _goes_on(self, count: int | None, number: int, end: str) -> bool:
        """Return whether another item follows; the mark of the end is read."""
        if count is not None:
            if count > len(self._raw):
                raise ValueError("it ends too early")
            return number < count
        if self._peek() == end:
            self.take(1)
            return False
        return True
