"""What the service answers when it refuses: each error with the HTTP status that tells it."""

from __future__ import annotations

from typing import Any

from fusion_nb.errors import FusionError


class FieldError(FusionError):
    """400: a field of a request is missing, or its value is not allowed."""

    def __init__(self, field: str, message: str, hint: str = "", **parts: Any) -> None:
        super().__init__(message, hint, **parts)
        self.field = field

    def __reduce__(self) -> tuple[Any, ...]:
        return _field_error, (self.field, self._message, self._hint, self._parts())


def _field_error(field: str, message: str, hint: str, parts: dict[str, Any]) -> FieldError:
    return FieldError(field, message, hint, **parts)


class UnknownError(FusionError):
    """404: there is no such aggregator, or it has no such thing."""


class OrderError(FusionError):
    """409: a step out of order, such as training before all parties are there."""


class TooLargeError(FusionError):
    """413: more bytes than the service takes."""


class RefusedError(FusionError):
    """422: what was uploaded can't be used, or a run that was asked for failed."""


class EndingError(FusionError):
    """503: the server is about to end."""


#: The status of each; that of FusionError, its most general kind, is for what was uploaded and
#: doesn't fit.
STATUS: dict[type[FusionError], int] = {
    FieldError: 400,
    UnknownError: 404,
    OrderError: 409,
    TooLargeError: 413,
    EndingError: 503,
    FusionError: 422,
}


def status_of(error: FusionError) -> int:
    """Return the HTTP status that tells an error."""
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def as_json(error: FusionError) -> dict[str, str]:
    """Return what the answer says: the error, what to do next, and the field that it is about."""
    found = {"error": error.message, "hint": error.hint}
    return found | ({"field": error.field} if isinstance(error, FieldError) else {})
