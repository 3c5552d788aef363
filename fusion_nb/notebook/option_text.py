"""The option line as text: the lines of a cell that it takes, its words, and its comment."""

from __future__ import annotations

import io
import shlex
from collections.abc import Container

from fusion_nb.errors import OptionError


def split_cell(line: str, body: str) -> tuple[list[str], str]:
    """Return the lines of a cell that hold its options, and its body.

    line: the first line;  body: the lines below it
    Options go on below a line that ends with a backslash, before or after its comment.
    """
    lines = [line]
    while _is_continued(lines[-1]) and body:
        following, _, body = body.partition("\n")
        lines.append(following)
    return [_without_backslash(each) for each in lines], body


def tokens(line: str) -> list[str]:
    """Split a line as a shell does, up to a comment.

    Raises OptionError for a quote that is not closed.
    """
    return _read(line)[0]


def in_comment(line: str, known: Container[str]) -> list[str]:
    """Return the words of a line's comment that are known."""
    return [word for word in _read(line)[1].split() if word in known]


def _is_continued(line: str) -> bool:
    return line.rstrip().endswith("\\") or tokens(line)[-1:] == ["\\"]


def _without_backslash(line: str) -> str:
    """Return a line that goes on below without its comment and the backslash at its end."""
    if not _is_continued(line):
        return line
    words = tokens(line.rstrip().removesuffix("\\"))
    return shlex.join(words[:-1] if words[-1:] == ["\\"] else words)


def _read(line: str) -> tuple[list[str], str]:
    """Return the words of a line, and its comment."""
    stream = io.StringIO(line)
    lexer = shlex.shlex(stream, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    words: list[str] = []
    try:
        for token in lexer:  # read one by one: an apostrophe inside a comment closes nothing
            if token.startswith("#"):
                return words, f"{token} {stream.read()}"
            words.append(token)
    except ValueError:
        raise OptionError(
            f"a quote is not closed in: {line}", 'write values with spaces in quotes: "a b"'
        ) from None
    return words, ""
