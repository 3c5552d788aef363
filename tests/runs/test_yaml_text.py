"""YAML that repeats or nests without end, or holds what is no plain value: one line at once."""

from __future__ import annotations

import string
from typing import Any

import pytest

from fusion_nb import RunSpec
from fusion_nb.errors import FusionError, OptionError, option
from fusion_nb.runs.spec.yaml_text import parse_documents


def repeated(times: int, value: str = "[x, x, x, x, x, x, x, x, x]") -> str:
    lines = [f"a: &a {value}"]
    for before, name in zip(string.ascii_letters, string.ascii_letters[1:times], strict=False):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


def merged(times: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for number in range(1, times):
        inside = ", ".join([f"*a{number - 1}"] * 10)
        lines.append(f"a{number}: &a{number} {{<<: [{inside}]}}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (repeated(12), "by aliases"),
        (merged(12), "by aliases"),
        (f"{repeated(10)}\nmodel: *j", "by aliases"),
        ("[" * 20_000, "nested too deeply"),
        ("\n".join(" " * depth + "a:" for depth in range(2000)), "nested too deeply"),
        ("&a [*a]", "holds no options"),
        ("rounds: " + "9" * 10_000, "can't be read"),
        ("rounds: 2001-99-99", "can't be read"),
        ("model: a\n---\nmodel: b", "2 documents"),
        ("model: !!python/object/apply:os.system ['true']", "not YAML in line 1"),
        ("model: \0", "not YAML"),
        ("model: [", "not YAML in line 1"),
    ],
    ids=lambda text: text[:20],
)
def test_another_text_is_one_line(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        RunSpec.from_yaml(text)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.hint


@pytest.mark.parametrize("text", ["a: &x [1, 2]\nb: *x\nc: *x", "a: &x {k: 1}\nb: {<<: *x, l: 2}"])
def test_aliases_are_read(text: str) -> None:
    (found,) = parse_documents(text)
    assert found["b"] in ([1, 2], {"k": 1, "l": 2})


def test_a_spec_is_read_again() -> None:
    spec = RunSpec(model="model", rounds=3, code="a = 1\nb = 2", lr=0.5)
    assert RunSpec.from_yaml(spec.to_yaml()) == spec


@pytest.mark.parametrize("value", ["x" * 10_000, ["y"] * 5000])
def test_a_long_value_is_repeated_in_part(value: Any) -> None:
    message = OptionError(f"{option('lr', value)} is not allowed").message
    assert len(message) < 400
    assert "characters) is not allowed" in message


@pytest.mark.parametrize("text", ["a\nb", "a\r\n\n  b", "a \n b"])
def test_a_message_is_one_line(text: str) -> None:
    assert FusionError(f"it says {text}").message == "it says a b"


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\0b", "a\u202eb", "a\x9bb", "a\x07b", "a\u2066b"])
def test_a_message_does_not_steer_a_terminal(text: str) -> None:
    error = FusionError(f"there is no {text}", f"try {text}")
    shown = "".join(error._render_traceback_()).replace("\x1b[31m", "").replace("\x1b[0m", "")
    for said in (error.message, error.hint, shown):
        assert said.isprintable()
        assert text.encode("unicode_escape").decode() in said
