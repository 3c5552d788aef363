"""Secrets in addresses are kept out of what repeats a run."""

from __future__ import annotations

import pytest

from fusion_nb import RunSpec
from fusion_nb.runs.redaction import without_secrets


class TestWithoutSecrets:
    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("http://me:secret@host:1/a", "http://host:1/a"),
            ("https://:secret@host", "https://host"),
            ("a 'http://me:s@cret@host' b", "a 'http://host' b"),
            ("x://a:secret@b y://c:secret@d", "x://b y://d"),
        ],
    )
    def test_user_and_password_are_left_out(self, text: str, left: str) -> None:
        assert without_secrets(text) == left

    @pytest.mark.parametrize(
        "text",
        [
            "http://host:8765/x",
            "http://host/a@b:c",
            'f"http://{name}:{secret}@host"',
            "git@host:name",
            "{'a': 'b@c'}",
            "lambda x: x @ y",
        ],
    )
    def test_other_text_stays(self, text: str) -> None:
        assert without_secrets(text) == text


def test_cell_yaml_and_python_have_no_secret() -> None:
    spec = RunSpec(data="http://me:hidden@host/rows.npz", code="url = 'http://me:hidden@host'\n")
    bare = RunSpec(data="http://me:hidden@host/rows.npz")
    for text in (spec.to_cell(), spec.to_yaml(), spec.to_python(), bare.to_python()):
        assert "hidden" not in text
        assert "//host" in text
    assert "hidden" not in spec.to_cell(service="http://me:hidden@there")
    assert spec.code == "url = 'http://me:hidden@host'\n"
