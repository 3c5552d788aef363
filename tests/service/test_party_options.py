"""The command of a party that takes part in a service: its options, its token, its dry run."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from kept_rows import save_kept
from typer.testing import CliRunner

from fusion_nb import cli
from fusion_nb.errors import OptionError
from fusion_nb.service.party import token_file

SERVICE = ("--service", "http://127.0.0.1:1", "--aggregator", "abc")


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_kept(tmp_path, 1)


def party(rows: Path, *arguments: str, data: str = "") -> tuple[int, str]:
    given = ["party", "--name", "St. Mary", "--data", data or str(rows), *arguments]
    found = CliRunner().invoke(cli.app, given)
    return found.exit_code, found.output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "no aggregator is named"),
        ((*SERVICE, "--superlink", "a:1"), "two aggregators"),
        (SERVICE[:2], "without an aggregator"),
        (("--superlink", "a:1", "--aggregator", "abc"), "--aggregator is of a service"),
        (("--superlink", "a:1", "--token", "t"), "--token is of a service"),
        ((*SERVICE, "--key", "party.key"), "--key is for a SuperLink"),
        (("--service", "http://10.0.0.1:1", "--aggregator", "a"), "without encryption"),
        (("--service", "ftp://10.0.0.1", "--aggregator", "a"), "no address of a service"),
        ((*SERVICE, "--certificates", "none.pem"), "can't be read"),
        ((*SERVICE, "--token", "none/file"), "can't be used"),
        ((*SERVICE, "--node-config", "partition-id=0"), "--node-config is for a ClientApp"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    rows: Path, arguments: tuple[str, ...], line: str
) -> None:
    code, said = party(rows, *arguments)
    assert code == 2
    assert line in said
    assert "Traceback" not in said
    assert not [*Path().glob("*.token")]


@pytest.mark.parametrize("arguments", [(), SERVICE])
def test_a_dry_run_shows_what_would_leave_and_makes_nothing(
    rows: Path, arguments: tuple[str, ...]
) -> None:
    code, said = party(rows, *arguments, "--dry-run")
    assert code == 0
    assert "num_rows: 48" in said
    assert {path.name for path in Path().iterdir()} == {rows.name}


class TestTokenFile:
    def test_it_is_made_once_for_its_owner_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "party.token"
        made = token_file.read_or_make(path)
        assert len(made) >= 32
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert token_file.read_or_make(path) == made

    def test_each_aggregator_and_party_has_one_of_its_own(self) -> None:
        pairs = [("a", "x"), ("a", "y"), ("b", "x"), ("ax", "")]
        assert len({token_file.default_path(*pair) for pair in pairs}) == len(pairs)

    @pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40, b"a" * 32 + b"\x00"])
    def test_another_file_is_refused_and_kept(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "notes.txt"
        path.write_bytes(content)
        with pytest.raises(OptionError, match="is no file of a party's token"):
            token_file.read_or_make(path)
        assert path.read_bytes() == content
