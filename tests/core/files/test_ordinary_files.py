"""Files that are no ordinary ones, or nested or sized to exhaust a reader: an error at once."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from fusion_nb.core.files import ordinary, storage


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are files on POSIX alone")
@pytest.mark.parametrize("make", [make_pipe, make_link_to_device, Path.mkdir])
@pytest.mark.parametrize("read", [ordinary.read_json_file, ordinary.crc32_of, storage.read_json])
def test_only_ordinary_files_are_read(tmp_path: Path, make: Any, read: Any) -> None:
    make(tmp_path / "file")
    with pytest.raises(OSError, match="no ordinary file"):
        read(tmp_path / "file")


def test_a_link_to_an_ordinary_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"a": 1}')
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert ordinary.read_json_file(tmp_path / "link") == {"a": 1}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "", "{", "\0", "9" * 5000])
def test_json_that_can_not_be_read_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=r".") as caught:
        storage.read_json(tmp_path / "file")
    assert not isinstance(caught.value, RecursionError)


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary, "_MAX_JSON", 100)
    (tmp_path / "file").write_text(f'"{"a" * 98}"')
    assert ordinary.read_json_file(tmp_path / "file") == "a" * 98
    (tmp_path / "file").write_text(f'"{"a" * 99}"')
    with pytest.raises(ValueError, match="more than 100 bytes"):
        ordinary.read_json_file(tmp_path / "file")


@pytest.mark.parametrize("size", [0, 1, 5, 3 << 20, None])
def test_the_sum_of_the_first_bytes(tmp_path: Path, size: int | None) -> None:
    content = bytes(range(256)) * (10 << 10)
    (tmp_path / "file").write_bytes(content)
    assert ordinary.crc32_of(tmp_path / "file", size) == zlib.crc32(content[:size])
