"""Headers that every answer has, so that no cache, frame or guess at its type gets hold of it."""

from __future__ import annotations

#: Name -> value. An answer may set its own value.
SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
#: Bytes that the head of one request may have: its first line and its headers.
MAX_HEAD = 16 << 10


def head_too_long() -> dict[str, str]:
    """Return the body of the answer 431."""
    return {
        "error": f"the head of a request may have {MAX_HEAD:,} bytes",
        "hint": "send a shorter address, and fewer or shorter headers",
    }
