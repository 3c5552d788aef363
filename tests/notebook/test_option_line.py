"""The option line: how it is read, and which options it has."""

from __future__ import annotations

from fusion_nb import RunSpec
from fusion_nb.notebook import options


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
