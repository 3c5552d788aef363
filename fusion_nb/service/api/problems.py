"""Errors over HTTP: their JSON, their description in the OpenAPI document, and the handlers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from fusion_nb.errors import FusionError
from fusion_nb.service.api.examples import add_examples
from fusion_nb.service.errors import FieldError, status_of, to_json

#: Characters of a framework's message that are repeated.
_MAX_DETAIL = 300


class Problem(BaseModel):
    """The reason why a call was refused."""

    error: str = Field(description="what is wrong, in one line")
    hint: str = Field("", description="what is allowed, and what to do next")
    field: str | None = Field(None, description="the field of the request that is wrong")
    option: str | None = Field(None, description="the option of a run that is wrong")
    value: Any = Field(None, description="the value that was given")
    allowed: list[str] | None = Field(None, description="the values that are allowed, if few")
    id: str | None = Field(None, description="of a failure of the server, as in its log")


_MEANINGS = {
    400: "a field is missing, unknown or not allowed; `field` names it, `hint` says what is "
    "allowed",
    401: "no key, or a wrong one",
    403: "a browser sent the call for a page of another site, or a call is in the name of a party "
    "without its token",
    404: "there is no such aggregator, or it has no weights yet",
    409: "a step out of order: training before all parties have registered, a party too many",
    413: "more bytes than the server accepts (`--max-upload`)",
    421: "Host names another service: the operator allows a name by `--allowed-host`",
    422: "an upload that can't be read or does not fit, or a run that failed",
    429: "too many wrong keys from this address; `Retry-After` says for how many seconds",
    431: "a head of more bytes than the server accepts",
    500: "a failure of the server; `id` is in its log",
    503: "the server ends before the run that is waited for, has too many open connections, or "
    "can't read its keys",
    507: "the server's disk is full",
}
#: Statuses that every call may answer with.
_COMMON = (401, 403, 421, 429, 431, 500, 503, 507)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the descriptions of the errors that a route may answer with."""
    return {
        status: {"model": Problem, "description": _MEANINGS[status]}
        for status in (*statuses, *_COMMON)
    }


def install(app: FastAPI) -> None:
    """Make an application answer errors as Problems, and describe its keys in its document."""
    app.add_exception_handler(FusionError, _answer_refused)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_status)
    default = app.openapi

    def openapi() -> dict[str, Any]:
        return _document(default())

    app.openapi = openapi  # type: ignore[method-assign]


def _document(document: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document with keys, and without FastAPI's own kind of error."""
    for path in document["paths"].values():
        for call in path.values():
            if "HTTPValidationError" in str(call["responses"].get("422", "")):
                del call["responses"]["422"]  # such errors are answered as 400 here
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    bearer = {"type": "http", "scheme": "bearer", "description": "CLIENT_ID:CLIENT_SECRET"}
    basic = {"type": "http", "scheme": "basic"}
    document["components"]["securitySchemes"] = {"basic": basic, "bearer": bearer}
    document["security"] = [{"basic": []}, {"bearer": []}]
    add_examples(document)
    return document


async def _answer_refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FusionError)
    return JSONResponse(to_json(error), status_of(error))


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer a request that FastAPI found invalid, by its first mistake."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1]) if len(first["loc"]) > 1 else "body"
    message = str(first["msg"])
    line = f"{field} is not allowed: {message[:1].lower()}{message[1:]}"
    if first["type"] == "missing":
        line = f"{field} is missing"
    elif first["type"] == "json_invalid":
        field, line = "body", "the body is not JSON"
    return JSONResponse(to_json(FieldError(field, line, "see GET /docs")), 400)


async def _answer_status(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)[:_MAX_DETAIL].lower()
    body = {"error": detail, "hint": "GET /docs lists all calls"}
    return JSONResponse(body, error.status_code, error.headers)
