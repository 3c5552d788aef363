"""The calls of the service."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from starlette.responses import JSONResponse, Response, StreamingResponse

from fusion_nb.service import request_fields
from fusion_nb.service.aggregator import FAILED, Aggregator
from fusion_nb.service.api import forms, schemas
from fusion_nb.service.errors import OrderError, RefusedError
from fusion_nb.service.service import Service
from fusion_nb.version import __version__

router = APIRouter()
#: Headings of the page.
STEPS: list[str | Enum] = ["the steps of a federation"]
LOOKS: list[str | Enum] = ["what came of it"]


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _client(request: Request) -> str:
    return str(request.state.client_id)


Ours = Annotated[Service, Depends(_service)]
Client = Annotated[str, Depends(_client)]
Id = Annotated[str, InPath(description="as /start-aggregator answered it", max_length=200)]
Kind = Annotated[
    Literal["last", "best"], Query(description="of the last whole round, or of the best one")
]

_MODEL_FILE = (
    "the model: what `torch.save(model, path)` wrote, of classes of torch.nn; a `.keras` file; "
    "or a gensim `Doc2Vec` "
    "as its `save` wrote it. Nothing in it is run."
)
_TEST = "an `.npz` with x_test and y_test, on which the fused model is measured"
_AGGREGATOR = forms.described(
    {
        "model_type": {
            "type": "string",
            "enum": list(request_fields.MODELS),
            "description": "the model's framework",
        },
        **request_fields.option_schemas(),
    },
    {"model_file": _MODEL_FILE, "test": _TEST},
    ["model_type", "num_parties", "model_file"],
)
_PARTY = forms.described(
    {
        "aggregator_id": {"type": "string", "description": "as /start-aggregator answered it"},
        "data_handler_class_name": {
            "type": "string",
            "description": f"what reads the data: {', '.join(request_fields.handlers())}, or the "
            "class in custom_data_handler",
        },
        "party": {
            "type": "string",
            "description": "the party's name (default: party 1, party 2, ...)",
        },
    },
    {
        "data": "the party's rows: an `.npz` with x_train, y_train and, for test rows of its "
        "own, x_test and y_test; "
        "or documents as the handler reads them. Never returned, and deleted by /stop.",
        "custom_data_handler": "a Python module with a class that has get_data(); only where the "
        "operator allows code",
    },
    ["aggregator_id", "data_handler_class_name", "data"],
)


@router.post(
    "/start-aggregator",
    tags=STEPS,
    openapi_extra=_AGGREGATOR,
    responses=schemas.refusals(400, 413, 422),
)
async def start_aggregator(request: Request, service: Ours, client: Client) -> schemas.Message:
    """Start an aggregator with a model, and say how it is to be trained.

    Fields left out or empty have their defaults. `optimizer` is the library's own name, with its
    module or without (`optim.Adadelta`, `adam`), and with options after a colon
    (`sgd:momentum=0.9`).
    """
    async with forms.reading(request, ("model_file", "test")) as (given, files):
        made = await service.start_aggregator(client, given, files)
    line = f"the aggregator waits for {_parties(made.remaining)}: POST /start-party"
    return schemas.Message(aggregator_id=made.id, message=line)


@router.post(
    "/start-party",
    tags=STEPS,
    openapi_extra=_PARTY,
    responses=schemas.refusals(400, 404, 409, 413, 422),
)
async def start_party(request: Request, service: Ours, client: Client) -> schemas.Registered:
    """Register a party with its data. It is read once, and checked against the model, before this
    answers.
    """
    async with forms.reading(request, ("data", "custom_data_handler")) as (given, files):
        aggregator, party, remaining = await service.start_party(client, given, files)
    line = (
        f"{_parties(remaining)} still to register"
        if remaining
        else "all parties are there: POST /train"
    )
    return schemas.Registered(
        aggregator_id=aggregator.id, message=line, party=party, remaining=remaining
    )


@router.post(
    "/train",
    tags=STEPS,
    response_model=schemas.Trained,
    responses=schemas.refusals(400, 404, 409, 413, 422, 503)
    | {202: {"model": schemas.Standing, "description": "begun"}},
)
async def train(
    body: schemas.Which,
    service: Ours,
    wait: Annotated[
        bool, Query(description="false answers 202 at once; GET /rounds follows it then")
    ] = True,
) -> Response:
    """Train once all parties are there, and answer with the fused model and its history.

    A run waits for its turn behind others. One that was stopped meanwhile answers with its last
    whole round.
    """
    aggregator = await service.train(body.aggregator_id)
    if not wait:
        line = f"it is {aggregator.state}: GET /rounds/{{aggregator_id}} follows it"
        return JSONResponse(_standing(aggregator, line).model_dump(), 202)
    await service.ended(aggregator)
    if aggregator.state == FAILED:
        raise RefusedError(*aggregator.error)
    if not aggregator.num_rounds:
        raise OrderError(
            f"it was {aggregator.state} before its first whole round", "POST /start-aggregator anew"
        )
    model, _ = await service.model(aggregator, "json", "last")
    return Response(
        await asyncio.to_thread(_trained, aggregator, model), media_type="application/json"
    )


@router.post("/stop", tags=STEPS, responses=schemas.refusals(400, 404, 413))
async def stop(body: schemas.Which, service: Ours) -> schemas.Standing:
    """Stop a run at its last whole round, end the federation, and delete all data that its parties
    sent.

    Weights and history stay. Stopping what has ended does nothing.
    """
    aggregator = await service.stop(body.aggregator_id)
    return _standing(aggregator, "the federation has ended, and its parties' data is deleted")


@router.get(
    "/weights/{aggregator_id}",
    tags=LOOKS,
    response_class=Response,
    responses={
        **schemas.refusals(400, 404, 413, 422),
        200: {
            "description": "the weights; the header X-Fusion-Round says of which round",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "application/octet-stream": {},
            },
        },
    },
)
async def weights(
    aggregator_id: Id,
    service: Ours,
    format: Annotated[
        str,
        Query(
            description="json, npz; safetensors, pt (a state dict); keras; gensim: as the "
            "model's type has it"
        ),
    ] = "json",
    which: Kind = "last",
) -> Response:
    """Return the fused weights of the last or the best whole round, while it trains too."""
    aggregator = service.find(aggregator_id)
    request_fields.check_format(format, aggregator.model_type)
    if format == "npz":
        content, number = await asyncio.to_thread(aggregator.folder.read, which)
    else:
        content, number = await service.model(aggregator, format, which)
    headers = {"X-Fusion-Round": str(number)}
    if format == "json":
        told = orjson.dumps({"round": number, "global_model": orjson.Fragment(content)})
        return Response(told, media_type="application/json", headers=headers)
    headers["Content-Disposition"] = (
        f'attachment; filename="model.{"doc2vec" if format == "gensim" else format}"'
    )
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/status/{aggregator_id}", tags=LOOKS, responses=schemas.refusals(400, 404, 413))
async def status(aggregator_id: Id, service: Ours) -> schemas.Status:
    """Say where an aggregator and its run stand."""
    return schemas.Status(**service.status(aggregator_id))


@router.get(
    "/rounds/{aggregator_id}",
    tags=LOOKS,
    response_class=StreamingResponse,
    responses={
        **schemas.refusals(400, 404, 413),
        200: {
            "description": "one JSON record per line: round, metrics, party_metrics, cohort, "
            "seconds, bytes_up, ...",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        },
    },
)
async def rounds(
    aggregator_id: Id,
    service: Ours,
    after: Annotated[
        int, Query(ge=0, le=2**31, description="leave out the rounds up to this one")
    ] = 0,
) -> Response:
    """Return one record per whole round: those there are and, while it trains, each other one as it
    comes.

    With models of parties' own, the last round may come twice; its second record replaces the
    first.
    """
    found = service.rounds(service.find(aggregator_id), after)
    return StreamingResponse(
        found, media_type="application/x-ndjson", headers={"X-Accel-Buffering": "no"}
    )


@router.get("/aggregators", tags=LOOKS, responses=schemas.refusals(413))
async def aggregators(service: Ours, client: Client) -> schemas.Aggregators:
    """List the aggregators that this client started, the oldest first."""
    return schemas.Aggregators(
        aggregators=[schemas.Brief(**found.brief()) for found in service.of(client)]
    )


@router.delete(
    "/aggregators/{aggregator_id}", tags=STEPS, responses=schemas.refusals(400, 404, 409, 413)
)
async def remove(aggregator_id: Id, service: Ours, client: Client) -> schemas.Message:
    """Remove all that is kept of an aggregator that has ended: its model, weights and history. Its
    own client may.
    """
    await service.remove(client, aggregator_id)
    return schemas.Message(aggregator_id=aggregator_id, message="it is removed")


@router.get("/health", tags=LOOKS, openapi_extra={"security": []}, responses=schemas.refusals(413))
async def health() -> schemas.Health:
    """Say that the service is there. Needs no key."""
    return schemas.Health(status="ok", version=__version__)


def _parties(count: int) -> str:
    return f"{count} {'party' if count == 1 else 'parties'}"


def _standing(aggregator: Aggregator, line: str) -> schemas.Standing:
    state, number = aggregator.state, aggregator.num_rounds
    return schemas.Standing(aggregator_id=aggregator.id, message=line, state=state, round=number)


def _trained(aggregator: Aggregator, model: bytes) -> bytes:
    found = aggregator.status()
    rounds = "1 round" if found["round"] == 1 else f"{found['round']} rounds"
    return orjson.dumps(
        {
            **_standing(aggregator, f"{found['state']} after {rounds}").model_dump(),
            "reason": found["reason"],
            "global_model": orjson.Fragment(model),
            "history": [orjson.Fragment(record) for record in aggregator.folder.lines()[0]],
        }
    )
