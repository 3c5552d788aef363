"""The index of folders that runs were saved in: bounded, and silent on all that is gone or
damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_nb.runs.checkpoints import named


def made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_the_latest_folders_are_remembered(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    many = [made(tmp_path / f"run {number}") for number in range(named.MAX_FOLDERS + 3)]
    for folder in [*many, many[5]]:
        named.remember(cache, folder)
    assert named.folders(cache) == [*many[3:5], *many[6:], many[5]]


def test_folders_that_are_gone_are_dropped(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first, second = made(tmp_path / "first"), made(tmp_path / "second")
    named.remember(cache, first)
    first.rmdir()
    named.remember(cache, second)
    made(tmp_path / "first")  # another one of this name is no run that was saved
    assert named.folders(cache) == [second]


def test_runs_in_the_cache_are_not_in_the_index(tmp_path: Path) -> None:
    named.remember(tmp_path, made(tmp_path / "run"))
    assert named.folders(tmp_path) == []
    assert not (tmp_path / "named.json").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"folders": 3}', '{"folders": [3, "x", "/\\u0000", "/nowhere"]}', "\xff"],
)
def test_a_damaged_index_is_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "named.json").write_text(text, encoding="latin-1")
    assert named.folders(tmp_path) == []
    folder = made(tmp_path / "a" / "run")
    named.remember(tmp_path, folder)
    assert named.folders(tmp_path) == [folder]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    named.remember(tmp_path / "cache", made(tmp_path / "run"))
    assert named.folders(tmp_path / "cache") == []
