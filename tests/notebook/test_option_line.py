"""The option line: how it is read, and which options it has."""

from __future__ import annotations

from typing import Any

import pytest
from cells import CELL, fuse

from fusion_nb import RunSpec
from fusion_nb.notebook import options
from fusion_nb.notebook.option_text import in_comment, split_cell


class TestOptionLine:
    def test_comments_quotes_and_equal_signs(self) -> None:
        line = options.read('--rounds=3 --until "accuracy >= 0.9" # don\'t train longer')
        assert line.options == {"rounds": "3", "until": "accuracy >= 0.9"}
        assert options.read("run --rounds 3").command == "run"
        assert options.read("export a b --overwrite").words == ["a", "b"]

    def test_every_field_has_an_option_and_a_meaning(self) -> None:
        spelled = set(options.names().values())
        assert spelled == {*RunSpec.model_fields, *options.LINE_OPTIONS} - {"code"}
        assert all(options.describe(name) for name in spelled)


class TestSeveralLines:
    @pytest.mark.parametrize(
        ("cell", "lines", "body"),
        [
            ("--rounds 2 \\\n  --parties 3\nx = 1", ["--rounds 2", "  --parties 3"], "x = 1"),
            ("--rounds 2 \\ # two\n-p 3 # three\nx", ["--rounds 2", "-p 3 # three"], "x"),
            ("--rounds 2 # it's two \\\n-p 3\nx", ["--rounds 2", "-p 3"], "x"),
            ("--until 'loss < 1' \\\n \\\n-p 3\nx", ["--until 'loss < 1'", "", "-p 3"], "x"),
            ("--rounds 2\nx = 1 + \\\n  2", ["--rounds 2"], "x = 1 + \\\n  2"),
            ("--rounds 2 \\\n", ["--rounds 2"], ""),
        ],
    )
    def test_a_backslash_at_the_end_takes_the_next_line(
        self, cell: str, lines: list[str], body: str
    ) -> None:
        first, _, rest = cell.partition("\n")
        assert split_cell(first, rest) == (lines, body)

    def test_a_cell_has_its_options_on_several_lines(self, ip: Any) -> None:
        assert fuse(ip, "--rounds 1 \\ # one\n --parties 3 \\\n --seed 5 # five").error is None
        spec = ip.ns["run"].spec
        assert (spec.rounds, spec.parties, spec.seed, spec.code) == (1, 3, 5, CELL)

    def test_an_option_in_a_comment_is_told(self, ip: Any) -> None:
        fuse(ip, "--rounds 1")
        seen = ip.run("%fusion run --rounds 1 # one \\\n  --parties 3")
        assert "note: --parties stands in a comment" in seen.text
        assert not in_comment("--rounds 2 # parties of -3", options.names())


def test_no_line_of_the_help_is_wider_than_a_small_window() -> None:
    lines = options.usage().splitlines()
    assert max(map(len, lines)) <= 96
    beside = [line for line in lines if line.startswith("  -")]
    assert all(line[30:31] in ("", " ") and line[31:32] != " " for line in beside)
