"""Charts as files: whole, or one line that says why they can't be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from fusion_nb.core.files import storage
from fusion_nb.errors import ExportError
from fusion_nb.reporting.charts import Chart


@pytest.fixture
def chart() -> Chart:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2, 3])
    return Chart(figure, "three points")


def refused(chart: Chart, path: Any) -> ExportError:
    with pytest.raises(ExportError) as caught:
        chart.save(path)
    assert len(caught.value.message.splitlines()) == 1
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a.PNG", b"\x89PNG")],
)
def test_the_suffix_names_the_format(
    chart: Chart, tmp_path: Path, name: str, begins: bytes
) -> None:
    chart.save(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_without_a_suffix_is_that_of_a_png(chart: Chart, tmp_path: Path) -> None:
    chart.save(str(tmp_path / "curve"))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_nothing_is_one_line(
    chart: Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(*args: Any) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "a.png").write_bytes(b"before")
    monkeypatch.setattr(storage.os, "fsync", fails)  # type: ignore[attr-defined]
    error = refused(chart, tmp_path / "a.png")
    assert os.strerror(number) in error.message
    assert ("free some space" in error.hint) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert (tmp_path / "a.png").read_bytes() == b"before"
    assert len([*tmp_path.iterdir()]) == 1


def test_a_full_disk(chart: Chart, small_disk: Path) -> None:
    (small_disk / "rest").write_bytes(bytes(8 << 10))
    assert "No space left on device" in refused(chart, small_disk / "a.pdf").message
    assert {path.name for path in small_disk.iterdir()} == {"filling", "rest"}


@pytest.mark.parametrize(
    "name", ["none/a.png", "a\0.png", "x" * 300 + ".png", "~nobody_here/a.png"]
)
def test_a_name_that_no_disk_takes(chart: Chart, tmp_path: Path, name: str) -> None:
    path = name if name.startswith("~") else f"{tmp_path}/{name}"
    assert "can't be written" in refused(chart, path).message


@pytest.mark.parametrize("name", ["a.exe", "a.keras", "a.html"])
def test_another_format_is_refused_with_those_that_are_there(
    chart: Chart, tmp_path: Path, name: str
) -> None:
    error = refused(chart, tmp_path / name)
    assert "png" in error.hint
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("path", [None, 3, b"a.png", ["a.png"]])
def test_what_is_no_name_is_refused(chart: Chart, path: Any) -> None:
    assert "is not the name of a file" in refused(chart, path).message


def test_the_file_behind_a_link_is_written(chart: Chart, tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(b"before")
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    chart.save(tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "real.png").read_bytes().startswith(b"\x89PNG")
