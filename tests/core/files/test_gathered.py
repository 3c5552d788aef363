"""Buffers written into a file by few calls: all of them, in order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from fusion_nb.core.files import gathered
from fusion_nb.core.files.gathered import write_buffers
from fusion_nb.core.files.safetensors_file import read_safetensors, write_safetensors

BUFFERS = [memoryview(bytes([number % 251]) * (number % 7 + 1)) for number in range(2500)]
EXPECTED = b"head" + b"".join(BUFFERS)


def test_more_buffers_than_a_call_takes(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.write(b"head")
        write_buffers(file, BUFFERS)
        file.write(b"tail")
    assert (tmp_path / "file").read_bytes() == EXPECTED + b"tail"


@pytest.mark.skipif(not hasattr(os, "writev"), reason="this system has no writev")
@pytest.mark.parametrize("taken", [0, 1, 5, 1000])
def test_calls_that_take_a_part(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def takes_a_part(handle: int, buffers: Sequence[memoryview]) -> int:
        return write(handle, b"".join(buffers)[:taken])

    monkeypatch.setattr(gathered.os, "writev", takes_a_part)
    monkeypatch.setattr(gathered.os, "write", lambda handle, rest: write(handle, rest[:2]))
    with (tmp_path / "file").open("wb") as file:
        file.write(b"head")
        write_buffers(file, BUFFERS)
    assert (tmp_path / "file").read_bytes() == EXPECTED


def test_a_file_in_memory() -> None:
    file = BytesIO()
    file.write(b"head")
    write_buffers(file, BUFFERS)
    assert file.getvalue() == EXPECTED


def test_no_buffers(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        write_buffers(file, [])
    assert (tmp_path / "file").read_bytes() == b""


def test_many_small_arrays_come_back(tmp_path: Path) -> None:
    arrays = {f"party {number}": np.full(number % 5, number, np.int32) for number in range(3000)}
    with (tmp_path / "file").open("xb") as file:
        write_safetensors(file, arrays)
    found = read_safetensors(tmp_path / "file")
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert set(found) == set(arrays)
