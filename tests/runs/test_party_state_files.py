"""The states of parties over many checkpoints: each is written when it changed, and rarely else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_nb.runs.checkpoints import links, party_states
from fusion_nb.runs.checkpoints.links import Links
from fusion_nb.runs.checkpoints.party_states import PartyStates, read_party_states

PARTIES = [f"party_{number}" for number in range(40)]


def state(value: float, round: int) -> tuple[Any, int, Any]:
    return {"c": np.full(3, value, np.float32)}, round, {}


class Saved:
    """Checkpoints that hold nothing but the states of parties."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: dict[str, Any] = dict.fromkeys(PARTIES)
        self.written: list[int] = []
        self._links = Links()
        self._files = PartyStates(self._links)

    def save(self, round: int, cohort: list[str]) -> list[str]:
        """Change the states of a cohort, save them, and return the files of the checkpoint."""
        for party in cohort:
            self.states[party] = state(round, round)
        target = self.folder / f"round-{round}"
        target.mkdir()
        self._links.begin()
        files = self._files.write(target, dict(self.states), round)
        self._files.is_placed()
        self._links.is_placed(target)
        self.written.append(len(read_party_states(target, files[-1:])))
        return files

    def check(self, round: int, files: list[str]) -> None:
        found = read_party_states(self.folder / f"round-{round}", files)
        assert set(found) == set(self.states)
        for party, expected in self.states.items():
            if expected is None:
                assert found[party] is None
            else:
                assert found[party][1] == expected[1]
                assert np.array_equal(found[party][0]["c"], expected[0]["c"])


@pytest.fixture(params=[0, 1 << 20], ids=["linked", "copied"])
def saved(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Saved:
    monkeypatch.setattr(links, "_SMALL", request.param)
    monkeypatch.setattr(party_states, "_MAX_FILES", 8)
    return Saved(tmp_path)


def test_only_few_states_are_written_though_they_did_not_change(saved: Saved) -> None:
    rng = np.random.default_rng(0)
    for round in range(1, 61):
        files = saved.save(round, [str(name) for name in rng.choice(PARTIES, 4, replace=False)])
        assert len(files) <= 8
        saved.check(round, files)
        if round > 2:
            shutil.rmtree(saved.folder / f"round-{round - 2}")  # two are kept
    again = sum(count - 4 for count in saved.written[1:])
    assert 0 < again < 59 * 12  # all forty every eighth round would be some 5 a round at first


def test_the_same_party_each_time_needs_few_files(saved: Saved) -> None:
    for round in range(1, 30):
        files = saved.save(round, PARTIES[:1])
        saved.check(round, files)
        assert len(files) <= 2
    assert saved.written == [40, *[1] * 28]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_small_limit(limit: int, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(party_states, "_MAX_FILES", limit)
    for round in range(1, 12):
        files = saved.save(round, PARTIES[round : round + 2])
        saved.check(round, files)
        assert len(files) <= limit


def test_a_checkpoint_that_is_gone_is_no_base(saved: Saved) -> None:
    for round in range(1, 5):
        saved.save(round, PARTIES[round : round + 2])
    shutil.rmtree(saved.folder / "round-4")
    saved.check(5, saved.save(5, PARTIES[:1]))
    assert saved.written[-1] == 40


def test_a_checkpoint_that_is_copied_away_is_whole(saved: Saved, tmp_path: Path) -> None:
    for round in range(1, 12):
        files = saved.save(round, PARTIES[round : round + 2])
    shutil.copytree(saved.folder / "round-11", tmp_path / "elsewhere" / "round-11")
    for round in range(1, 12):
        shutil.rmtree(saved.folder / f"round-{round}")
    saved.folder = tmp_path / "elsewhere"
    saved.check(11, files)


@pytest.mark.parametrize("gone", [0, 1, -1])
def test_a_file_that_is_missing_is_named(gone: int, saved: Saved) -> None:
    for round in range(1, 5):
        files = saved.save(round, PARTIES[round : round + 2])
    (saved.folder / "round-4" / files[gone]).unlink()
    with pytest.raises(OSError, match=files[gone]):
        read_party_states(saved.folder / "round-4", files)
