"""The files of an aggregator after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_nb.core.files import storage
from fusion_nb.service.storage.run_folder import RunFolder


class TestRunFolder:
    def test_repair_removes_half_a_record_and_drafts(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path)
        (tmp_path / "rounds.jsonl").write_text('{"round": 1}\n{"rou')
        (tmp_path / ".draft-x").write_text("half")
        folder.repair()
        assert (tmp_path / "rounds.jsonl").read_text() == '{"round": 1}\n'
        assert folder.rounds.records() == (['{"round": 1}'], 13)
        assert not (tmp_path / ".draft-x").exists()

    def test_weights_of_a_round_without_a_record_are_ignored(self, tmp_path: Path) -> None:
        import numpy as np

        folder = RunFolder(tmp_path)
        folder.rounds.save(1, '{"round": 1}', {"file": np.zeros(2)}, is_best=True)
        storage.write_file(
            tmp_path / "weights-2.npz",
            lambda file: file.write(b"of a round that was not recorded any more"),
        )
        assert folder.rounds.weights_file("last")[1] == 1
        assert folder.rounds.weights_file("best")[1] == 1

    def test_a_file_is_written_whole_or_not_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "x.json"
        storage.write_json(path, {"a": 1})
        with pytest.raises(ValueError, match="JSON"):
            storage.write_json(path, {"a": float("nan")})
        assert storage.read_json(path) == {"a": 1}

        def fail(file: object) -> None:
            raise OSError("the disk is full")

        with pytest.raises(OSError, match="full"):
            storage.write_file(path, fail)
        assert [found.name for found in tmp_path.iterdir()] == ["x.json"]
