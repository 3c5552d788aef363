"""Folders of checkpoints that were copied by half, edited or mixed: an earlier round is taken up,
or one line says why none can be."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saved_runs import Case, assert_same, both_saved

from fusion_nb import Run
from fusion_nb.errors import RunError
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.checkpoints.saving import SavedRun

CASE = Case({"fusion": "scaffold", "rounds": 3, "parties": 2}, is_seeded=True)
OTHER = Case({"fusion": "scaffold", "rounds": 3, "parties": 2, "lr": 0.3}, is_seeded=True)
FILES = ["weights.safetensors", "state.safetensors", "parties-{:06}.safetensors", "records.jsonl"]
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Run]:
    """A run and another one, on disk, and the first as it ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_NB_CHECKPOINT", "off")
        return both_saved(tmp_path_factory.mktemp("runs"), CASE, OTHER)


@pytest.fixture
def folder(saved: tuple[Path, Path, Run], tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved[0], tmp_path / "copy"))


def last(folder: Path, back: int = 1) -> Path:
    return CheckpointFolder(folder).rounds()[-back]


def replace(path: Path, content: bytes) -> None:
    path.unlink()  # never through a link, into another round's file
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_round_is_found(name: str, folder: Path) -> None:
    earlier = (last(folder, 2) / name.format(2)).read_bytes()
    replace(last(folder) / name.format(3), earlier)
    assert CheckpointFolder(folder).latest().round == 2


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_run_is_found(name: str, folder: Path, saved: Any) -> None:
    replace(last(folder) / name.format(3), (last(saved[1]) / name.format(3)).read_bytes())
    assert CheckpointFolder(folder).latest().round == 2


@pytest.mark.parametrize("name", FILES)
def test_a_byte_that_changed_is_found(name: str, folder: Path) -> None:
    content = bytearray((last(folder) / name.format(3)).read_bytes())
    content[-9] ^= 1
    replace(last(folder) / name.format(3), bytes(content))
    assert CheckpointFolder(folder).latest().round == 2


@pytest.mark.skipif(os.name != "posix", reason="pipes are files on POSIX alone")
@pytest.mark.parametrize("name", ["checkpoint.json", *FILES])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(name: str, folder: Path) -> None:
    path = last(folder) / name.format(3)
    path.unlink()
    os.mkfifo(path)
    found = SavedRun.of(CheckpointFolder(folder))
    assert found is not None
    assert CheckpointFolder(folder).latest().round == 2


def test_folders_that_changed_their_names_are_passed_over(folder: Path) -> None:
    last(folder).rename(folder / "round-000009")
    last(folder, 2).rename(folder / "round-000001x")
    assert CheckpointFolder(folder).latest().round == 1


def edited(folder: Path, edit: Edit) -> None:
    for path in CheckpointFolder(folder).rounds():
        about = json.loads((path / "checkpoint.json").read_text())
        edit(about)
        replace(path / "checkpoint.json", json.dumps(about).encode())


def to(value: Any, *path: str) -> Edit:
    def edit(about: dict[str, Any]) -> None:
        for key in path[:-1]:
            about = about[key]
        about[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        *(to(value, "round") for value in (float("inf"), None, [], "x", 10**30)),
        *(to(value, "records_bytes") for value in (float("inf"), 10**30, -5, None)),
        *(to(value, "spec", "rounds") for value in (float("inf"), float("nan"), "x", None)),
        *(to(value, "spec") for value in (3, None, [], "x", {})),
        *(to(value, "rows_sha256") for value in (3, None, "x")),
        *(to(value, "schema") for value in (3, None, "x", [1], {"a": 3}, {"rows": 1})),
        *(to(value, "changes") for value in (3, None, "x", {"x": 1}, {"1": 2})),
        *(to(value, "early_stopping") for value in (3, None, {}, {"reason": [1]})),
        *(to(value, "name") for value in (3, None, ["a"])),
        *(to(value, "trackers") for value in (3, None)),
        *(to(value, "versions") for value in (3, None)),
        *(to(value, "crc32") for value in (3, {"../x": 1}, {"none": 1})),
        *(to(value, "weights") for value in (3, {"last": 3}, [])),
        *(to(value, "parties") for value in (3, [3], ["none"])),
    ],
)
def test_a_description_of_another_form_is_one_line(edit: Edit, folder: Path) -> None:
    edited(folder, edit)
    SavedRun.of(CheckpointFolder(folder))
    with pytest.raises(RunError, match="can't be read") as caught:
        CASE.resume(folder)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": 2, "x": ' + "[" * 100_000, "\0" * 99])
def test_a_description_that_is_none_leaves_the_round_before(
    text: str, folder: Path, saved: Any
) -> None:
    replace(last(folder) / "checkpoint.json", text.encode())
    assert_same(CASE.resume(folder), saved[2])


def records_become(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the records, with all that is said about them, as a program could."""
    path = last(folder)
    lines = change((path / "records.jsonl").read_bytes().splitlines(keepends=True))
    replace(path / "records.jsonl", b"".join(lines))
    about = json.loads((path / "checkpoint.json").read_text())
    del about["crc32"]["records.jsonl"]
    about["records_bytes"] = sum(map(len, lines))
    replace(path / "checkpoint.json", json.dumps(about).encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0], lines[1], lines[1]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: lines[:2],
        lambda lines: [*lines, lines[2]],
        lambda lines: [*lines[:2], lines[2].replace(b'"round": 3', b'"round": 7')],
        lambda lines: [*lines[:2], b"[" * 100_000 + b"\n"],
        lambda lines: [*lines[:2], b"{}\n"],
    ],
    ids=["twice", "order", "missing", "one more", "number", "nested", "empty"],
)
def test_records_are_those_of_the_rounds(change: Any, folder: Path) -> None:
    records_become(folder, change)
    assert CheckpointFolder(folder).latest().round == 2


def test_a_folder_of_an_earlier_version_has_no_sums(folder: Path, saved: Any) -> None:
    edited(folder, lambda about: about.pop("crc32"))
    shutil.rmtree(last(folder))
    assert_same(CASE.resume(folder), saved[2])


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "x/" * 3000, "a\ud800\0"])
def test_a_name_that_no_file_system_takes_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSION_NB_CHECKPOINT", "off")
    case = Case({**CASE.options, "checkpoint": str(tmp_path / name)}, is_seeded=True)
    with pytest.raises(RunError, match="there can be no checkpoint in"):
        Run(case.spec, case.namespace())
    with pytest.raises(RunError, match="there is no checkpoint in"):
        CASE.resume(tmp_path / name)


def test_the_home_of_an_unknown_user_is_one_line() -> None:
    with pytest.raises(RunError, match="names a home folder"):
        CheckpointFolder("~nobody-of-this-name/x")


@pytest.mark.parametrize("pid", [10**30, -1, "x", None, [1]])
def test_a_lock_of_no_process_is_taken_over(pid: Any, tmp_path: Path) -> None:
    lock = {"pid": pid, "started": "1", "host": socket.gethostname()}
    (tmp_path / ".lock").write_text(json.dumps(lock))
    folder = CheckpointFolder(tmp_path)
    assert not folder.is_in_use
    folder.acquire(fresh=True)
    folder.release()
    assert not (tmp_path / ".lock").exists()
