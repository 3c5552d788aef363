"""HTML from Jinja2 templates, which escape whatever is put into them."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

_ENVIRONMENT = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def render(source: str, **values: Any) -> Markup:
    """Return the HTML of a template; values are escaped unless they are `Markup` already.

    >>> str(render("<b>{{ text }}</b>", text="1 < 2"))
    '<b>1 &lt; 2</b>'
    """
    return Markup(_compiled(source).render(values))


@cache
def _compiled(source: str) -> Template:
    return _ENVIRONMENT.from_string(source)
