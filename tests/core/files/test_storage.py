"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from fusion_nb.core.files import storage


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "state"
    storage.write_file(path, lambda file: file.write(b"old"))
    storage.write_file(path, lambda file: file.write(b"new"), mode=0o644)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(tmp_path) == ["state"]


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        storage.write_file(path, full)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["state"]


def test_json_is_read_as_it_was_written_and_empty_where_there_is_none(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "a.json", {"rounds": 3})
    assert storage.read_json(tmp_path / "a.json") == {"rounds": 3}
    assert storage.read_json(tmp_path / "b.json") == {}
    with pytest.raises(ValueError, match="JSON compliant"):
        storage.write_json(tmp_path / "c.json", {"loss": float("nan")})


def test_arrays_keep_any_name(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3), "layers.0/weight": np.ones((2, 2), np.float32)}
    written = io.BytesIO()
    storage.write_npz(written, arrays)
    written.seek(0)
    found = storage.read_npz(written)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_objects_are_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        storage.write_npz(io.BytesIO(), {"bad": np.array([object()])})
    np.savez(tmp_path / "bad.npz", bad=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle"):
        storage.read_npz(tmp_path / "bad.npz")


def test_a_folder_is_placed_when_it_is_filled(tmp_path: Path) -> None:
    with storage.draft_folder(tmp_path) as draft:
        (draft / "card").write_text("new")
        assert names(tmp_path) == [draft.name]
        storage.place_folder(draft, tmp_path / "export", mode=0o755)
    assert names(tmp_path) == ["export"]
    assert (tmp_path / "export" / "card").read_text() == "new"
    assert (tmp_path / "export").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_is_not_placed_is_removed(tmp_path: Path) -> None:
    with storage.draft_folder(tmp_path) as draft:
        (draft / "card").write_text("half")
    assert names(tmp_path) == []


def test_an_older_folder_is_replaced_only_if_asked(tmp_path: Path) -> None:
    older = tmp_path / "export"
    older.mkdir()
    (older / "card").write_text("old")
    with storage.draft_folder(tmp_path) as draft:
        (draft / "card").write_text("new")
        with pytest.raises(OSError, match="not empty"):
            storage.place_folder(draft, older)
    assert (older / "card").read_text() == "old"
    with storage.draft_folder(tmp_path) as draft:
        (draft / "card").write_text("new")
        storage.place_folder(draft, older, replace=True)
    assert (older / "card").read_text() == "new"
    assert names(tmp_path) == ["export"]


def test_drafts_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / f"{storage.DRAFT}file").write_text("half")
    (tmp_path / f"{storage.DRAFT}folder").mkdir()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / f"{storage.DRAFT}file").write_text("half")
    (tmp_path / "kept").write_text("whole")
    storage.remove_drafts(tmp_path)
    assert names(tmp_path) == ["inner", "kept"]
    assert names(tmp_path / "inner") == []
