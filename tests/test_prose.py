"""Docstrings and comments keep the rules of CONTRIBUTING.md about prose, where a line shows it."""

from __future__ import annotations

import re

import pytest
from architecture import MODULES, PACKAGE

#: A sentence that begins with "What" in a docstring or a comment, and words that say no number.
_AVOIDED = re.compile(
    r'(?:"""|^\s*#:? |\. )What |\bso many\b|\bwhoever\b', re.MULTILINE | re.IGNORECASE
)


@pytest.mark.parametrize(
    ("text", "is_avoided"),
    [
        ('"""What rows are."""', True),
        ("#: What messages call it.", True),
        ("# It ends. What follows is lost.", True),
        ("# for whoever draws inside", True),
        ('"""Return so many rows."""', True),
        ('"""Return what parties send."""', False),
        ('print("What now?")', False),
    ],
)
def test_sentences_that_are_avoided_are_found(text: str, is_avoided: bool) -> None:
    assert bool(_AVOIDED.search(text)) is is_avoided


def test_no_sentence_is_one_of_them() -> None:
    found = [
        f"{module}: {match[0].strip()}"
        for module in MODULES
        for match in _AVOIDED.finditer((PACKAGE / module).read_text(encoding="utf-8"))
    ]
    assert not found
