"""The limits of a container, which its processes do not see in what the machine has."""

from __future__ import annotations

from pathlib import Path

#: Where Linux shows the control group of this process, as a container sees its own.
_GROUP = Path("/sys/fs/cgroup")
#: Bytes from which on a limit of memory is none: version 1 writes the largest whole number.
_NO_LIMIT = 1 << 60


def core_limit(group: Path = _GROUP) -> float:
    """Return how many cores' time the container may use; infinity where nothing limits it."""
    quota, _, period = _text(group / "cpu.max").partition(" ")
    if not period:  # version 1 of control groups
        quota = _text(group / "cpu" / "cpu.cfs_quota_us")
        period = _text(group / "cpu" / "cpu.cfs_period_us")
    is_limited = quota.isdecimal() and period.isdecimal() and int(period) > 0
    return int(quota) / int(period) if is_limited else float("inf")


def memory_left(group: Path = _GROUP) -> float:
    """Return the bytes that the container may still take; infinity where nothing limits it.

    Files that the system keeps in memory count as taken, although it would let them go.
    """
    for limit, taken in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, now = _text(group / limit), _text(group / taken)
        if most.isdecimal() and now.isdecimal() and int(most) < _NO_LIMIT:
            return float(max(0, int(most) - int(now)))
    return float("inf")


def _text(path: Path) -> str:
    """Return what a file holds; nothing where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
