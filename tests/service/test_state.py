"""A state that can't be used: one line at the start, and no key that a damaged file let through."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import save_model, save_rows, serving
from typer.testing import CliRunner

from fusion_nb import cli
from fusion_nb.service.errors import KeysError
from fusion_nb.service.service import Service
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage.keys import Keys

_ENTRY = {"created": 1.0, "sha256": "0" * 64}
#: Contents of a damaged keys.json.
DAMAGED: dict[str, bytes] = {
    "cut short": b"{",
    "empty": b"",
    "a list": b"[1, 2]",
    "a number": b"5",
    "null": b"null",
    "not UTF-8": b'{"\xff": {}}',
    "deep": b"[" * 100_000,
    "an entry that is text": b'{"a": "b"}',
    "an entry without a hash": b'{"a": {"created": 1}}',
    **{
        f"an entry whose time is {time}": f'{{"a": {{"created": {time}, "sha256": ""}}}}'.encode()
        for time in ("NaN", "Infinity", "1e300", "-1")
    },
    "an entry whose hash is no hash": '{"a": {"created": 1, "sha256": "é"}}'.encode(),
    "an entry whose time is text": json.dumps({"a": _ENTRY | {"created": "now"}}).encode(),
}


def run(*words: object) -> Any:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def assert_one_line(done: Any, said: str) -> None:
    assert (done.exit_code, said in done.output) == (2, True), done.output
    assert "Traceback" not in done.output
    assert len(done.output.strip().splitlines()) <= 3, done.output


class TestKeysFile:
    @pytest.mark.parametrize("name", DAMAGED)
    def test_a_damaged_file_is_one_line(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "keys.json").write_bytes(DAMAGED[name])
        for words in (("serve", "--port", "0"), ("keys", "list"), ("keys", "new")):
            assert_one_line(run(*words, "--state", tmp_path), "keys.json can't be read")
        assert (tmp_path / "keys.json").read_bytes() == DAMAGED[name]

    def test_a_folder_in_its_place_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "keys.json").mkdir()
        assert_one_line(run("serve", "--port", "0", "--state", tmp_path), "can't be read")

    def test_older_keys_are_not_admitted_by_a_damaged_file(self, tmp_path: Path) -> None:
        keys = Keys(tmp_path)
        key = keys.new()
        assert keys.admits(key.client_id, key.client_secret)
        (tmp_path / "keys.json").write_text("{ ")
        with pytest.raises(KeysError):
            keys.admits(key.client_id, key.client_secret)

    def test_a_running_server_says_so_and_recovers(self, tmp_path: Path) -> None:
        with serving(tmp_path / "state") as server:
            path = server.state / "keys.json"
            kept = path.read_bytes()
            path.write_bytes(b"[")
            answer = server.call("GET", "/aggregators")
            assert (answer.status_code, "keys.json" in answer.json()["error"]) == (503, True)
            path.write_bytes(kept)
            assert server.call("GET", "/aggregators").ok


class TestFolder:
    @pytest.fixture
    def read_only(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
            pytest.skip("mounting a disk needs root")
        (folder / "state").mkdir()
        (folder / "keys.json").write_text("{}")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)

    @pytest.mark.parametrize("name", ["state", "new", ""])
    def test_a_read_only_one_is_one_line(self, read_only: Path, name: str) -> None:
        for words in (("serve", "--port", "0"), ("keys", "new")):
            assert_one_line(run(*words, "--state", read_only / name), "can't be used")

    @pytest.mark.parametrize("name", ["server.log", "aggregators", "server.lock"])
    def test_a_name_that_is_taken_is_one_line(self, tmp_path: Path, name: str) -> None:
        if name == "aggregators":
            (tmp_path / name).touch()
        else:
            (tmp_path / name).mkdir()
        assert_one_line(run("serve", "--port", "0", "--state", tmp_path), "can't be used")

    @pytest.mark.parametrize("content", ["{", "[]", '{"model_type": 5}', ""])
    def test_a_damaged_aggregator_keeps_no_other_from_loading(
        self, tmp_path: Path, content: str
    ) -> None:
        folder = tmp_path / "state" / "aggregators" / "x"
        (folder / "parties").mkdir(parents=True)
        (folder / "aggregator.json").write_text(content)

        async def load() -> int:
            service = Service(Settings(state=tmp_path / "state"))
            await service.open()
            await service.close()
            return len(service.aggregators_of("anybody"))

        assert asyncio.run(load()) == 0

    def test_a_folder_below_the_current_one_serves_a_whole_federation(self, tmp_path: Path) -> None:
        model, rows = save_model(tmp_path / "model.pt"), save_rows(tmp_path / "rows.npz")
        with serving(Path(os.path.relpath(tmp_path / "state"))) as server:
            made = server.ready(model, rows, rounds=1)
            answer = server.train(made)
            assert answer.ok, answer.text
            assert answer.json()["state"] == "finished"
