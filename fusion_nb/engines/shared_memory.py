"""Objects sent between two processes: small parts by a pipe, arrays by shared memory."""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import struct
import tempfile
import weakref
from collections.abc import Sequence
from typing import IO, Any

from fusion_nb.errors import OptionError, option

#: Where files are memory, on systems that have such a place.
MEMORY_FOLDER = "/dev/shm"
_ALIGNED = 64
#: The length of the body, the number of parts, and the file that holds them.
_HEADER = struct.Struct("<QIB")
_LENGTH = struct.Struct("<Q")
#: Errors of a file system that can't reserve room, which is then filled with zeros.
_CANNOT_RESERVE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_BLOCK = bytes(1 << 20)


class SharedFile:
    """A file without a name that processes share; it vanishes with the last of them.

    fd: the descriptor by which this process opens it
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        weakref.finalize(self, os.close, fd)
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls, *, in_memory: bool) -> SharedFile:
        """Return a new file: in memory where the system has such a place, or on a disk."""
        if in_memory and os.path.isdir(MEMORY_FOLDER):
            try:
                return cls(_unnamed(MEMORY_FOLDER))
            except OSError:  # it may be read-only, or full of files
                pass
        return cls(_unnamed(None))

    def reserve(self, size: int) -> None:
        """Make room. Raises OSError where there is none.

        A file that only claims to be longer would end the process by a signal (SIGBUS) when it is
        written to.
        """
        begin = os.fstat(self.fd).st_size
        if begin >= size:
            return
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.fd, begin, size - begin)
                return
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
        try:
            while begin < size:
                begin += os.pwrite(self.fd, _BLOCK[: size - begin], begin)
        except OSError:
            os.truncate(self.fd, 0)  # others may need what was taken
            raise

    def view(self, size: int) -> memoryview:
        """Return the first bytes of it; the other processes see them change."""
        if not size:
            return memoryview(b"")
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        return memoryview(self._map)

    def private_view(self, size: int) -> memoryview:
        """Return the first bytes as they are now; what this process writes there stays its own."""
        return memoryview(mmap.mmap(self.fd, size, access=mmap.ACCESS_COPY) if size else b"")


def shared_byte() -> SharedFile:
    """Return a file of one byte. Raises OptionError where there is no room even for that."""
    for in_memory in (True, False):
        file = SharedFile.create(in_memory=in_memory)
        try:
            file.reserve(1)
        except OSError:
            continue
        return file
    raise _no_room(1)


class Arena:
    """Memory that processes share, and a file on a disk for what has no room in memory."""

    def __init__(self, fds: Sequence[int] = ()) -> None:
        self._files = (
            [SharedFile(fd) for fd in fds]
            if fds
            else [SharedFile.create(in_memory=True), SharedFile.create(in_memory=False)]
        )

    @property
    def fds(self) -> list[int]:
        """The descriptors by which another process opens it."""
        return [file.fd for file in self._files]

    def write(self, parts: Sequence[memoryview]) -> int:
        """Write parts one after the other, and return which of the files has them.

        Raises OptionError where none has room.
        """
        size = sum(_room(part.nbytes) for part in parts)
        number = self._file_with_room(size)
        view, start = self._files[number].view(size), 0
        for part in parts:
            if part.nbytes:  # without any bytes, the view is read-only
                view[start : start + part.nbytes] = part.cast("B")
            start += _room(part.nbytes)
        return number

    def read(self, file: int, sizes: Sequence[int], *, copies: bool) -> list[Any]:
        """Return the parts of these sizes.

        copies: without it, they are the memory itself until this process writes to it
        """
        total, start, parts = sum(map(_room, sizes)), 0, []
        source = self._files[file]
        view = source.view(total) if copies else source.private_view(total)
        for size in sizes:
            part = view[start : start + size]
            parts.append(bytearray(part) if copies else part)
            start += _room(size)
        return parts

    def _file_with_room(self, size: int) -> int:
        for number, file in enumerate(self._files):
            try:
                file.reserve(size)
            except OSError:
                continue
            return number
        raise _no_room(size)


def free_memory() -> int | None:
    """Return how many bytes of shared memory are free; None where files are not in memory."""
    if not os.path.isdir(MEMORY_FOLDER):
        return None
    found = os.statvfs(MEMORY_FOLDER)
    return found.f_bavail * found.f_frsize


def size_of(thing: Any, dumps: Any = pickle.dumps) -> int:
    """Return how many bytes an object's arrays take in an arena. Nothing is copied."""
    buffers: list[pickle.PickleBuffer] = []
    dumps(thing, protocol=5, buffer_callback=buffers.append)
    return sum(_room(buffer.raw().nbytes) for buffer in buffers)


def pack(thing: Any, arena: Arena, dumps: Any = pickle.dumps) -> bytes:
    """Write an object's arrays to the arena, and return the rest of it as a message.

    Raises OptionError where the arena has no room.
    """
    buffers: list[pickle.PickleBuffer] = []
    body = dumps(thing, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    file = arena.write(parts)
    sizes = b"".join(_LENGTH.pack(part.nbytes) for part in parts)
    return _HEADER.pack(len(body), len(parts), file) + sizes + bytes(body)


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write a message."""
    pipe.write(message)
    pipe.flush()


def receive(pipe: IO[bytes], arena: Arena, *, copies: bool = True) -> Any:
    """Return the next object from a pipe. Raises EOFError where the other end is closed."""
    length, num_parts, file = _HEADER.unpack(_exactly(pipe, _HEADER.size))
    sizes = [_LENGTH.unpack(_exactly(pipe, _LENGTH.size))[0] for _ in range(num_parts)]
    body = _exactly(pipe, length)
    return pickle.loads(body, buffers=arena.read(file, sizes, copies=copies))


def _unnamed(folder: str | None) -> int:
    fd, path = tempfile.mkstemp(dir=folder)
    os.unlink(path)
    return fd


def _no_room(size: int) -> OptionError:
    folders = {MEMORY_FOLDER: None, tempfile.gettempdir(): None}
    return OptionError(
        f"{option('engine', 'process')} has no room for {size / 1e6:.1f} MB that its processes "
        f"share: {' and '.join(folders)} are full",
        f"free some space there, or use {option('engine', 'local')}",
    )


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    read = pipe.read(count)
    if len(read) < count:
        raise EOFError
    return read


def _room(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
