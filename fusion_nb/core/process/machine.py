"""The machine's cores, and settings of the process that parties train in."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fusion_nb.core.process.container import core_limit, memory_left

_MEGABYTE = 1 << 20
#: Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
#: Values with which freed memory is kept; those with which up to 256 MB of it are; and those that
#: glibc itself reaches in a process that frees large arrays.
_KEEPING = {
    _MMAP_THRESHOLD: 1024 * _MEGABYTE,
    _TRIM_THRESHOLD: 1024 * _MEGABYTE,
    _TOP_PAD: 64 * _MEGABYTE,
}
_REUSING = {_MMAP_THRESHOLD: 32 * _MEGABYTE, _TRIM_THRESHOLD: 256 * _MEGABYTE}
_USUAL = {
    _MMAP_THRESHOLD: 32 * _MEGABYTE,
    _TRIM_THRESHOLD: 64 * _MEGABYTE,
    _TOP_PAD: _MEGABYTE // 8,
}


#: Processes or threads that a run may be given, at most: each holds a model, and a process the
#: framework too.
MOST_WORKERS = 512


def num_cores() -> int:
    """Return how many cores this process may use, also where a container limits it."""
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(known or 1, _cores_of_container()))


@functools.cache
def _cores_of_container() -> int:
    return math.ceil(min(core_limit(), MOST_WORKERS))


def memory() -> tuple[float, float]:
    """Return the bytes that this process holds, and those that are left on its machine."""
    import psutil

    return psutil.Process().memory_info().rss, min(psutil.virtual_memory().available, memory_left())


class RefCountedSetting:
    """A setting of the whole process that holds while at least one thread is inside `with`.

    make: makes the setting, and returns the function that undoes it

    >>> setting = RefCountedSetting(lambda: print("made") or (lambda: print("undone")))
    >>> with setting(), setting():
    ...     print("inside")
    made
    inside
    undone
    """

    def __init__(self, make: Callable[[], Callable[[], None]]) -> None:
        self._make = make
        self._lock, self._holders = threading.Lock(), 0
        self._undo: Callable[[], None] = lambda: None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the setting."""
        with self._lock:
            if not self._holders:
                self._undo = self._make()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._undo()


#: The parameter of Linux's prctl that says whether a process may be dumped.
_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Let a crash of this process leave no file with its memory, which holds rows.

    The limit holds for its descendants too. A program to which the system hands dumps ignores the
    limit, so that Linux is also told that this process may not be dumped; a descendant calls
    `inherit_core_dumps` for that.
    """
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc: Any = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def inherit_core_dumps() -> None:
    """Forbid core dumps of this process if the one that started it did."""
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        return
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        forbid_core_dumps()


def memory_setting(values: Mapping[int, int]) -> RefCountedSetting:
    """Return the setting that gives glibc's allocator these values; nothing with another one."""

    def make() -> Callable[[], None]:
        libc: Any = ctypes.CDLL(None) if os.name == "posix" else None
        if not hasattr(libc, "mallopt"):
            return lambda: None
        for parameter, value in values.items():
            # Older versions refuse to keep blocks of more than 32 MB, and keep those.
            libc.mallopt(parameter, value) or libc.mallopt(parameter, _USUAL[parameter])

        def give_back() -> None:
            for parameter, value in _USUAL.items():
                libc.mallopt(parameter, value)
            libc.malloc_trim(0)

        return give_back

    return RefCountedSetting(make)


#: A context in which freed memory stays with the process, where the C library is glibc. A training
#: step frees and allocates the same large arrays again and again, and each time the system would
#: have to hand out every page anew.
kept_memory = memory_setting(_KEEPING)

#: The same for arrays of up to 32 MB, and 256 MB of freed memory at most.
reused_memory = memory_setting(_REUSING)
