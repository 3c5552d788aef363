"""A disk without room: the end of a federation deletes data, and all else is answered in a line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import ENDLESS, Server, save_rows, serving, wait_for

from fusion_nb.core.files import storage
from fusion_nb.service.aggregator import Aggregator
from fusion_nb.service.errors import StorageError, from_wire, storage_error, to_wire
from fusion_nb.service.storage.run_folder import RunFolder


def no_room(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def registered(path: Path) -> RunFolder:
    """Return the folder of an aggregator with two parties."""
    for number in (1, 2):
        party = path / "parties" / f"{number:04}"
        party.mkdir(parents=True)
        storage.write_json(party / "party.json", {"party": f"p{number}", "file": "data.npz"})
        (party / "data.npz").write_bytes(b"rows")
    (path / "test.npz").write_bytes(b"rows")
    about = {"client_id": "c", "model_type": "pytorch", "options": {"parties": 2}, "created": 1.0}
    storage.write_json(path / "aggregator.json", about)
    return RunFolder(path)


def left(folder: RunFolder) -> set[str]:
    return {path.name for path in folder.path.rglob("*") if path.is_file()}


class TestAggregator:
    def test_an_end_that_can_not_be_written_deletes_the_data(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = registered(tmp_path / "a")
        aggregator = Aggregator(folder)
        with monkeypatch.context() as patched:
            patched.setattr(storage, "write_json", no_room)
            aggregator.end()
        assert aggregator.run.has_ended
        assert left(folder) == {"aggregator.json", "party.json"}
        # The next server finds no record of the end, and sees it by what is gone.
        other = Aggregator(folder)
        assert not other.run.has_ended
        other.recover()
        assert other.run.has_ended
        assert Aggregator(folder).run.has_ended

    def test_the_record_is_written_once_there_is_room(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = registered(tmp_path / "a")
        aggregator = Aggregator(folder)
        write = storage.write_json

        def when_deleted(path: Path, value: Any) -> None:
            if "data.npz" in left(folder):
                no_room()
            write(path, value)

        monkeypatch.setattr(storage, "write_json", when_deleted)
        aggregator.end()
        assert Aggregator(folder).run.has_ended

    def test_a_file_that_can_not_be_deleted_hinders_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = registered(tmp_path / "a")
        unlink = Path.unlink

        def refused(path: Path, missing_ok: bool = False) -> None:
            if "0001" in path.parts and path.name == "data.npz":
                raise OSError(errno.EROFS, "read-only")
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refused)
        with pytest.raises(OSError, match="read-only"):
            Aggregator(folder).end()
        assert [path.parent.name for path in folder.path.rglob("data.npz")] == ["0001"]
        assert not (folder.path / "test.npz").exists()


def test_errors_of_a_disk_are_told_from_others() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        found = storage_error(OSError(number, "x"))
        assert found is not None
        assert isinstance(from_wire(to_wire(found)), StorageError)
    for error in (OSError(errno.ENOENT, "x"), ValueError("x")):
        assert storage_error(error) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting a disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    path = disk / "fill"
    with path.open("ab", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return path


def data_of(server: Server, aggregator_id: str) -> list[str]:
    parties = server.state / "aggregators" / aggregator_id / "parties"
    return [path.name for path in parties.glob("*/*") if path.name != "party.json"]


@pytest.mark.slow
def test_the_calls_on_a_full_disk(small_disk: Path, model_file: Path, tmp_path: Path) -> None:
    rows = save_rows(tmp_path / "rows.npz")
    with serving(small_disk / "state", "--workers", "1") as server:
        waiting, running, ready = (
            server.ready(model_file, rows, rounds=ENDLESS, num_parties=1) for _ in range(3)
        )
        open_one = server.new_aggregator(model_file)
        assert server.train(running, wait=False).ok
        wait_for(lambda: server.status(running)["round"])
        assert server.train(waiting, wait=False).ok
        # A run that fails makes room, because it removes the round that it could not save.
        training = server.children("training")[0]
        training.suspend()
        fill(small_disk)
        for answer in (
            server.start_aggregator(model_file),
            server.start_party(open_one, rows),
            server.train(ready, wait=False),
        ):
            assert answer.status_code == 507, answer.text
            assert "\n" not in answer.json()["error"]
        assert server.call("GET", "/aggregators").ok
        training.resume()
        for aggregator_id in (waiting, running, ready):
            answer = server.stop(aggregator_id)
            assert answer.ok, answer.text
            assert "data is deleted" in answer.json()["message"]
            assert data_of(server, aggregator_id) == []
            assert server.status(aggregator_id)["has_ended"]
            fill(small_disk)
        server.kill()
        (small_disk / "fill").unlink()
        server.start()
        for aggregator_id in (waiting, running, ready):
            assert server.status(aggregator_id)["has_ended"]
        assert server.start_aggregator(model_file).ok


@pytest.mark.slow
def test_a_run_that_can_not_be_saved_goes_on_once_there_is_room(
    small_disk: Path, model_file: Path, tmp_path: Path
) -> None:
    rows = save_rows(tmp_path / "rows.npz")
    with serving(small_disk / "state") as server:
        aggregator_id = server.ready(model_file, rows, rounds=ENDLESS)
        server.train(aggregator_id, wait=False)
        wait_for(lambda: server.status(aggregator_id)["round"])
        filled = fill(small_disk)
        wait_for(lambda: server.status(aggregator_id)["state"] == "failed")
        status = server.status(aggregator_id)
        assert status["error"] == "the server's disk is full"
        assert str(small_disk) not in json.dumps(status)
        filled.unlink()
        assert server.train(aggregator_id, wait=False).ok
        wait_for(lambda: server.status(aggregator_id)["round"] > status["round"])
        assert server.status(aggregator_id)["resumed_after"] == status["round"]
        server.stop(aggregator_id)
