"""Text of a user's that files and tables can hold."""

from __future__ import annotations

from typing import Any


def encodable(value: Any) -> Any:
    r"""Return a value as it is, but a text with halves of characters (lone surrogates) escaped.

    Python takes such a text, out of a damaged file say; UTF-8 and tables of pyarrow do not.

    >>> encodable("clinic \ud800")
    'clinic \\ud800'
    """
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()
