"""Files of arrays that declare more than they hold, or are packed too tightly, are refused."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_nb.core.files import file_sizes
from fusion_nb.data import loading
from fusion_nb.errors import DataError


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def declared(dtype: str, shape: str, blanks: int = 0) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"
    text = header.encode() + b" " * blanks + b"\n"
    size = struct.pack("<I", len(text))
    return b"\x93NUMPY\x02\x00" + size + text


def written(path: Path, x: bytes, method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x_train.npy", x)
        archive.writestr("y_train.npy", npy(np.arange(60) % 3))
    return str(path)


@pytest.mark.parametrize(
    "x",
    [
        declared("<f4", "(1000000000, 1000)"),
        declared("<U0", "(1000000000,)"),
        declared("|V0", "(1000000000,)"),
        declared("|V2000000000", "(60,)"),
        declared("<f4", "(60, 4)", blanks=100_000),
        declared("<f4", "((60,), 4)"),
        b"\x93NUMPY\x09\x00" + bytes(100),
    ],
    ids=["numbers", "texts", "nothing", "large items", "long header", "nested", "version"],
)
def test_what_an_array_declares_is_not_allocated(tmp_path: Path, x: bytes) -> None:
    with pytest.raises(DataError, match=r"can't be read as \.npz") as caught:
        loading.read(written(tmp_path / "rows.npz", x), {})
    assert "\n" not in caught.value.message


def test_a_file_that_is_packed_too_tightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "rows.npz", npy(np.zeros((60, 40_000), np.float32)))
    assert loading.read(path, {}).train is not None
    monkeypatch.setattr(
        "fusion_nb.core.files.npz_sizes.limit_for",
        lambda size, multiple: file_sizes.limit_for(size, always=1 << 20, multiple=multiple),
    )
    with pytest.raises(DataError, match=r"would take 10 MB") as caught:
        loading.read(path, {})
    assert "FUSION_NB_MAX_UNPACKED" in caught.value.hint


@pytest.mark.parametrize("order", ["C", "F"])
def test_usual_arrays_are_read(tmp_path: Path, order: Any) -> None:
    rows = np.asarray(np.random.default_rng(0).normal(size=(60, 4)), order=order)
    found = loading.read(written(tmp_path / "rows.npz", npy(rows)), {})
    assert found.schema.rows.shape == (4,)


@pytest.mark.skipif(os.name != "posix", reason="pipes are files on POSIX alone")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.npz")
    with pytest.raises(DataError, match="no ordinary file"):
        loading.read(str(tmp_path / "rows.npz"), {})
