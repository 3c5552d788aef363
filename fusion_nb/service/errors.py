"""The errors with which the service refuses a request, and how they travel as JSON.

Each error has its HTTP status. `to_json` writes the body of an HTTP answer; `to_wire` and
`from_wire` carry an error from a child process to the server without losing its parts.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from fusion_nb.errors import FusionError


class FieldError(FusionError):
    """400: a field of a request is missing, or its value is not allowed.

    field: the field's name, as the client wrote it
    """

    def __init__(self, field: str, message: str, hint: str = "", **parts: Any) -> None:
        super().__init__(message, hint, **parts)
        self.field = field

    def __reduce__(self) -> tuple[Any, ...]:
        return _field_error, (self.field, self._message, self._hint, self._parts())


def _field_error(field: str, message: str, hint: str, parts: dict[str, Any]) -> FieldError:
    """Restore an error that was pickled."""
    return FieldError(field, message, hint, **parts)


class UnknownError(FusionError):
    """404: there is no such aggregator, or it has no weights yet."""


class TokenError(FusionError):
    """403: a call in the name of a party, without that party's token."""


class OrderError(FusionError):
    """409: a step out of order, such as training before all parties have registered."""


class TooLargeError(FusionError):
    """413: a request or an upload has more bytes than the service accepts."""


class RefusedError(FusionError):
    """422: an upload can't be used, or a run failed."""


class EndingError(FusionError):
    """503: the server is shutting down."""


class KeysError(FusionError):
    """503: the server can't read its keys."""


class StorageError(FusionError):
    """507: the server's disk is full, or can't be written."""


#: HTTP status of each kind of error. FusionError, the base class of all others, comes last.
STATUS: dict[type[FusionError], int] = {
    FieldError: 400,
    TokenError: 403,
    UnknownError: 404,
    OrderError: 409,
    TooLargeError: 413,
    EndingError: 503,
    KeysError: 503,
    StorageError: 507,
    FusionError: 422,
}


#: Kinds of errors that a child process sends; all others arrive as RefusedError.
_SENT: dict[str, type[FusionError]] = {
    kind.__name__: kind for kind in (TooLargeError, StorageError)
}
#: Numbers of system errors that a disk without room gives, or one that can't be written.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def storage_error(error: BaseException) -> StorageError | None:
    """Return a system error as a StorageError if a disk is the cause, and else None."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _NO_ROOM:
        return StorageError(
            "the server's disk is full",
            "POST /stop deletes a federation's data, and DELETE /aggregators/ID the rest of it",
        )
    if error.errno == errno.EROFS:
        return StorageError("the server's disk can't be written", "tell the operator")
    return None


def status_of(error: FusionError) -> int:
    """Return the HTTP status of an error."""
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def http_spelling(name: str, value: str | None = None) -> str:
    """Write an option as the field of a request: `batch_size '32'`."""
    return name if value is None else f"{name} {value!r}"


def to_json(error: FusionError) -> dict[str, Any]:
    """Return the body of the HTTP answer to an error.

    It has `error` and `hint`, and those of `option`, `value`, `allowed` and `field` that are known.
    """
    spelled = error.spelled(http_spelling)
    body: dict[str, Any] = {"error": spelled.message, "hint": spelled.hint}
    if error.option:
        body["option"] = error.option
    if error.value is not None:
        body["value"] = _plain(error.value)
    if error.allowed:
        body["allowed"] = list(error.allowed)
    if isinstance(error, FieldError):
        body["field"] = error.field
    return body


def to_wire(error: FusionError) -> dict[str, Any]:
    """Return the parts of an error as JSON, for another process to restore with `from_wire`."""
    parts = error.to_dict()
    return {
        "kind": type(error).__name__,
        "error": parts["message"],
        "hint": parts["hint"],
        "option": parts["option"],
        "value": _plain(parts["value"]),
        "allowed": list(parts["allowed"]),
    }


def from_wire(found: Mapping[str, Any]) -> FusionError:
    """Restore an error that a child process sent; one of an unknown kind is a RefusedError."""
    kind = _SENT.get(str(found.get("kind")), RefusedError)
    return kind(
        found["error"],
        found.get("hint", ""),
        option=found.get("option", ""),
        value=found.get("value"),
        allowed=found.get("allowed", ()),
    )


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold; anything but text, numbers and None becomes text."""
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
