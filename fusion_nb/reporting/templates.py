"""Templates of HTML and Markdown. Every value is escaped unless it is marked as finished text."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:  # a run is trained without any template
    from jinja2 import Template

#: A `<` that begins a tag or a comment. One before a space or a digit, as in `loss < 0.2`, does
#: not.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
#: Marks inside a line: cells, code, emphasis, links, mathematics, strike-through. An underscore
#: inside a word, as in `batch_size`, is none.
_MARKS = re.compile(r"[|`*$\[\]]|~(?=~)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
#: Marks that begin a block: headings, quotes, lists, rules.
_BLOCK = re.compile(r"^(\s*)(#(?=[#\s]|$)|>|[-+=~](?=[-+=~\s]|$)|(?<=\d)[.)])")
#: Categories of Unicode whose characters can't be seen: control, format, line ends, no characters.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


class Markdown(str):
    """Text that is Markdown already, so that `render_markdown` inserts it as it is."""

    __slots__ = ()


def render(source: str, /, **values: Any) -> Markup:
    """Return a template of HTML filled in. Values are escaped, except those of type Markup.

    source: the text of a Jinja2 template
    Raises jinja2.UndefinedError for a name that has no value.
    """
    return Markup(_html(source).render(values))


def render_markdown(source: str, /, **values: Any) -> str:
    """Return a template of Markdown filled in. Values are escaped, except those of type Markdown.

    source: the text of a Jinja2 template
    """
    return _markdown(source).render(values)


def escape_markdown(value: Any) -> str:
    r"""Return text for one line or one table cell: nothing in it has a meaning in Markdown.

    >>> escape_markdown("a|b <i> loss < 0.2 `x` $y$ [z](w)")
    'a\\|b &lt;i> loss < 0.2 \\`x\\` \\$y\\$ \\[z\\](w)'
    """
    text = _ENTITY.sub("&amp;", visible(value).replace("\\", "\\\\"))
    text = _MARKS.sub(r"\\\g<0>", _TAG.sub("&lt;", text))
    return _BLOCK.sub(r"\1\\\2", text)


def visible(value: Any) -> str:
    r"""Return text in one line, with characters that can't be seen, or turn a line, as escapes.

    >>> visible("two\nlines and \u202egnp.exe")
    'two lines and \\u202egnp.exe'
    """
    text = " ".join(str(value).splitlines()) if value != "" else ""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def shortened(value: Any, length: int) -> str:
    """Return visible text of at most `length` characters, without the middle of a longer one.

    >>> shortened("a" * 50 + "b" * 50, 11)
    'aaaaa…bbbbb'
    """
    text = visible(value)
    if len(text) <= length:
        return text
    first = length // 2
    return f"{text[:first]}…{text[len(text) - (length - first - 1) :]}"


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    # Letters of some scripts, and pictures of several characters, are joined by these two.
    if kind not in _UNSEEN or character in "\u200c\u200d":
        return character
    return " " if character == "\t" else character.encode("unicode_escape").decode()


def _escaped(value: Any) -> str:
    return value if isinstance(value, Markdown) else escape_markdown(value)


@functools.cache
def _html(source: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return made.from_string(source)


@functools.cache
def _markdown(source: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        autoescape=False,
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return made.from_string(source)
