"""The limits of a container, as both versions of Linux's control groups write them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fusion_nb.core.process.container import core_limit, memory_left


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "150000 100000"},
        {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"},
    ],
)
def test_a_limit_of_cores_is_a_share_of_their_time(tmp_path: Path, files: dict[str, str]) -> None:
    assert core_limit(write(tmp_path, files)) == 1.5


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": "2000", "memory.current": "500"},
        {"memory/memory.limit_in_bytes": "2000", "memory/memory.usage_in_bytes": "500"},
    ],
)
def test_what_is_left_is_the_limit_without_what_is_taken(
    tmp_path: Path, files: dict[str, str]
) -> None:
    assert memory_left(write(tmp_path, files)) == 1500


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000", "memory.max": "max", "memory.current": "500"},
        {
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": "500",
        },
        {"cpu.max": "", "memory.max": "2000"},
    ],
)
def test_without_a_limit_there_is_no_end(tmp_path: Path, files: dict[str, str]) -> None:
    group = write(tmp_path, files)
    assert (core_limit(group), memory_left(group)) == (math.inf, math.inf)


def test_a_container_that_is_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    group = write(tmp_path, {"memory.max": "2000", "memory.current": "2500"})
    assert memory_left(group) == 0
