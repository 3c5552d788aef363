"""Templates of HTML and Markdown. Every value is escaped unless it is marked as finished text."""

from __future__ import annotations

import functools
import re
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

#: A `<` that begins a tag or a comment. One before a space or a digit, as in `loss < 0.2`, does
#: not.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


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
    r"""Return text for one line or one table cell: no pipe, tag or line break of it has an effect.

    >>> escape_markdown("a|b <i> loss < 0.2")
    'a\\|b &lt;i> loss < 0.2'
    """
    text = " ".join(str(value).splitlines()) if value != "" else ""
    return _TAG.sub("&lt;", text.replace("|", "\\|"))


def _escaped(value: Any) -> str:
    return value if isinstance(value, Markdown) else escape_markdown(value)


@functools.cache
def _html(source: str) -> Template:
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return made.from_string(source)


@functools.cache
def _markdown(source: str) -> Template:
    made = Environment(
        autoescape=False,
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return made.from_string(source)
