"""Objects sent between two processes: small parts by a pipe, arrays by shared memory."""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import tempfile
import weakref
from collections.abc import Sequence
from typing import IO, Any

#: Where files are memory, on systems that have such a place.
_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
_ALIGNED = 64
_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")


class Arena:
    """Memory that processes share: a file without a name, which vanishes with the last of them."""

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            fd, path = tempfile.mkstemp(dir=_MEMORY)
            os.unlink(path)
        #: The descriptor by which another process opens it.
        self.fd = fd
        weakref.finalize(self, os.close, fd)
        self._map: mmap.mmap | None = None

    def write(self, parts: Sequence[memoryview]) -> None:
        """Write parts one after the other, from the beginning."""
        view, start = self._view(sum(_room(part.nbytes) for part in parts)), 0
        for part in parts:
            if part.nbytes:  # without any bytes, the view is read-only
                view[start : start + part.nbytes] = part.cast("B")
            start += _room(part.nbytes)

    def read(self, sizes: Sequence[int], *, copies: bool) -> list[Any]:
        """Return the parts of these sizes.

        copies: without it, they are the memory itself until this process writes to it
        """
        total, start, parts = sum(map(_room, sizes)), 0, []
        if not copies and total:
            view = memoryview(mmap.mmap(self.fd, total, access=mmap.ACCESS_COPY))
        else:
            view = self._view(total)
        for size in sizes:
            part = view[start : start + size]
            parts.append(bytearray(part) if copies else part)
            start += _room(size)
        return parts

    def byte(self) -> memoryview:
        """Return the first byte; the other processes see it change."""
        return self._view(1)[:1]

    def _view(self, size: int) -> memoryview:
        if self._map is None or len(self._map) < size:
            if os.fstat(self.fd).st_size < size:
                os.truncate(self.fd, size)
            self._map = mmap.mmap(self.fd, max(os.fstat(self.fd).st_size, 1)) if size else None
        return memoryview(self._map) if self._map is not None else memoryview(b"")


def pack(thing: Any, arena: Arena, dumps: Any = pickle.dumps) -> bytes:
    """Write an object's arrays to the arena, and return the rest of it as a message."""
    buffers: list[pickle.PickleBuffer] = []
    body = dumps(thing, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    arena.write(parts)
    sizes = b"".join(_LENGTH.pack(part.nbytes) for part in parts)
    return _HEADER.pack(len(body), len(parts)) + sizes + bytes(body)


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write a message."""
    pipe.write(message)
    pipe.flush()


def receive(pipe: IO[bytes], arena: Arena, *, copies: bool = True) -> Any:
    """Return the next object from a pipe. Raises EOFError where the other end is closed."""
    length, num_parts = _HEADER.unpack(_exactly(pipe, _HEADER.size))
    sizes = [_LENGTH.unpack(_exactly(pipe, _LENGTH.size))[0] for _ in range(num_parts)]
    body = _exactly(pipe, length)
    return pickle.loads(body, buffers=arena.read(sizes, copies=copies))


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    read = pipe.read(count)
    if len(read) < count:
        raise EOFError
    return read


def _room(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
