"""What calls answer: the shapes of JSON for the OpenAPI document, and errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from fusion_nb.errors import FusionError
from fusion_nb.service.errors import FieldError, as_json, status_of

#: Any JSON.
Record = dict[str, Any]


class Problem(BaseModel):
    """Why a call was refused."""

    error: str = Field(description="what is wrong, in one line")
    hint: str = Field("", description="what is allowed, and what to do next")
    field: str | None = Field(None, description="the field that it is about")
    id: str | None = Field(None, description="of a fault of the server: where its log says more")


class Which(BaseModel):
    """Which aggregator is meant."""

    aggregator_id: str = Field(description="as /start-aggregator answered it", max_length=200)


class Health(BaseModel):
    """That the service is there."""

    status: str = Field(description="ok")
    version: str = Field(description="of fusion_nb")


class Message(BaseModel):
    """What was done."""

    aggregator_id: str = Field(
        description="names the aggregator in all further calls; it can't be guessed"
    )
    message: str = Field(description="what was done, and what comes next")


class Registered(Message):
    """A party is registered."""

    party: str = Field(description="the party's name")
    remaining: int = Field(description="parties still to register")


class Standing(Message):
    """Where a run stands."""

    state: str = Field(
        description="registering, queued, training, finished, stopped, failed or interrupted"
    )
    round: int = Field(description="whole rounds so far")


class Trained(Standing):
    """What training came to."""

    reason: str = Field(description="why it ended before its last round, or nothing")
    global_model: Record = Field(
        description="name -> nested lists: `{k: torch.tensor(v) for k, v in ...}` loads it"
    )
    history: list[Record] = Field(
        description="one record for each round, as GET /rounds gives them"
    )


class Brief(BaseModel):
    """An aggregator in a list."""

    aggregator_id: str
    state: str = Field(
        description="registering, queued, training, finished, stopped, failed or interrupted"
    )
    model_type: str = Field(description="pytorch, keras or doc2vec")
    num_parties: int = Field(description="parties that it is for")
    remaining: int = Field(description="parties still to register")
    round: int = Field(description="whole rounds so far")
    created: float = Field(description="seconds since 1970")


class Status(Brief):
    """Where an aggregator and its run stand."""

    has_ended: bool = Field(
        description="whether /stop ended the federation and deleted its parties' data"
    )
    reason: str = Field(description="why a run ended early")
    error: str = Field(description="what a failed run failed of")
    hint: str = Field(description="what to do about that")
    rounds: int | None = Field(
        description="rounds that the run is to have; null for the default until it trains"
    )
    metrics: Record = Field(
        description="of the last round: loss, accuracy (shares of 1), mse, train_loss, ..."
    )
    notes: list[str] = Field(description="what was inferred from model and data, and warnings")
    shown: list[str] = Field(description="the two metrics of a chart")
    monitor: str = Field(description="the metric that decides which round is best")
    options: Record = Field(description="of the run, under the names of RunSpec")
    parties: list[Record] = Field(
        description="of each: party, handler, num_examples (training rows)"
    )
    ahead: int | None = Field(
        None, description="of a queued run: runs that are to be trained before it"
    )


class Aggregators(BaseModel):
    """The aggregators of a client."""

    aggregators: list[Brief]


_MEANINGS = {
    400: "a field is missing, unknown or not allowed; `field` names it, `hint` says what is "
    "allowed",
    401: "no key, or a wrong one",
    403: "a browser sent it for a page of another site",
    404: "there is no such aggregator, or no weights yet",
    409: "a step out of order: training before all parties are there, a party too many",
    413: "more bytes than the server takes (`--max-upload`)",
    422: "an upload that can't be read or doesn't fit, or a run that failed",
    503: "the server ends while a run is waited for",
    500: "a fault of the server; `id` is in its log",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the descriptions of the errors that a route may answer, beside those of all routes."""
    return {
        status: {"model": Problem, "description": _MEANINGS[status]}
        for status in (*statuses, 401, 403, 500)
    }


def install(app: FastAPI) -> None:
    """Let an application answer errors as Problems, and say in its document how calls are
    authorized.
    """
    app.add_exception_handler(FusionError, _refused)
    app.add_exception_handler(RequestValidationError, _not_allowed)
    app.add_exception_handler(HTTPException, _by_status)
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        for call in (call for path in document["paths"].values() for call in path.values()):
            if "HTTPValidationError" in str(call["responses"].get("422", "")):
                del call["responses"]["422"]  # FastAPI's own; such errors are answered as 400 here
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        schemes = {
            "basic": {"type": "http", "scheme": "basic"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        schemes["bearer"]["description"] = "CLIENT_ID:CLIENT_SECRET"
        document["components"]["securitySchemes"] = schemes
        document["security"] = [{"basic": []}, {"bearer": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FusionError)
    return JSONResponse(as_json(error), status_of(error))


async def _not_allowed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1]) if len(first["loc"]) > 1 else "body"
    if first["type"] == "missing":
        line = f"{field} is missing"
    elif first["type"] == "json_invalid":
        field, line = "body", "the body is not JSON"
    else:
        line = f"{field} is not allowed: {first['msg'][0].lower()}{first['msg'][1:]}"
    return JSONResponse(as_json(FieldError(field, line, "GET /docs says what is allowed")), 400)


async def _by_status(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    told = {"error": str(error.detail)[:300].lower(), "hint": "GET /docs lists all calls"}
    return JSONResponse(told, error.status_code, error.headers)
