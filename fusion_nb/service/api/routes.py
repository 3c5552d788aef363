"""The calls of the service."""

from __future__ import annotations

import asyncio
from enum import Enum
from pathlib import PurePath
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from starlette.responses import JSONResponse, Response, StreamingResponse

from fusion_nb.service import request_fields
from fusion_nb.service.aggregator import FAILED, Aggregator
from fusion_nb.service.api import bodies, forms, schemas
from fusion_nb.service.api.problems import refusals
from fusion_nb.service.errors import OrderError, RefusedError
from fusion_nb.service.service import Service
from fusion_nb.service.storage.round_files import Which
from fusion_nb.version import __version__

router = APIRouter()
#: Headings of the page.
STEPS: list[str | Enum] = ["the steps of a federation"]
RESULTS: list[str | Enum] = ["its results"]
parties_group: list[str | Enum] = ["parties that keep their rows"]


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _client(request: Request) -> str:
    return str(request.state.client_id)


Injected = Annotated[Service, Depends(_service)]
Client = Annotated[str, Depends(_client)]
Id = Annotated[
    str,
    InPath(
        description="the id that /start-aggregator returned; `?aggregator_id=` takes it too",
        max_length=200,
    ),
]
QueryId = Annotated[
    str,
    Query(
        alias="aggregator_id",
        description="the id that /start-aggregator returned",
        max_length=200,
    ),
]
OfRound = Annotated[Which, Query(description="of the last whole round, or of the best one")]
Wait = Annotated[
    bool, Query(description="false answers 202 at once; GET /rounds then follows the run")
]
Format = Annotated[
    str,
    Query(
        description="json or npz; or a format of the model's own framework, such as safetensors "
        "or pt (a state dict) for PyTorch"
    ),
]
After = Annotated[int, Query(ge=0, le=2**31, description="leave out the rounds up to this one")]


@router.post(
    "/start-aggregator",
    tags=STEPS,
    openapi_extra=bodies.START_AGGREGATOR,
    responses=refusals(400, 413, 422),
)
async def start_aggregator(request: Request, service: Injected, client: Client) -> schemas.Message:
    """Start an aggregator with a model and the options of its run.

    Fields left out or empty have their defaults. `optimizer` is the framework's own name, with its
    module or without (`optim.Adadelta`, `adam`), and with options after a colon
    (`sgd:momentum=0.9`).
    """
    async with forms.reading(request, ("model_file", "test")) as (fields, files):
        made = await service.start_aggregator(client, fields, files)
    line = f"the aggregator waits for {_parties(made.remaining)}: POST /start-party"
    return schemas.Message(aggregator_id=made.id, message=line)


@router.post(
    "/start-party",
    tags=STEPS,
    openapi_extra=bodies.START_PARTY,
    responses=refusals(400, 403, 404, 409, 413, 422),
)
async def start_party(request: Request, service: Injected, client: Client) -> schemas.Registered:
    """Register a party with its data, which is read and checked against the model before the
    answer; or one that keeps its rows, by facts about them.

    `fusion-nb party --service` registers a party that keeps its rows, and answers GET /messages.
    The same call takes it back when its program starts again.
    """
    known = ("data", "custom_data_handler", "facts")
    async with forms.reading(request, known) as (fields, files):
        given = fields.get("party", "")
        aggregator, party, node = await service.start_party(client, fields, files)
    remaining = aggregator.remaining
    line = "all parties have registered: POST /train"
    if remaining:
        line = f"{_parties(remaining)} still to register"
    if given not in ("", party):
        line = f"registered as {party!r}, with plain blanks and in Unicode's form NFC; {line}"
    return schemas.Registered(
        aggregator_id=aggregator.id, message=line, party=party, remaining=remaining, node=node
    )


@router.post(
    "/train",
    tags=STEPS,
    response_model=schemas.Trained,
    responses=refusals(400, 404, 409, 413, 422, 503)
    | {202: {"model": schemas.Progress, "description": "the run has begun, or is queued"}},
)
async def train(
    body: schemas.AggregatorId, service: Injected, client: Client, wait: Wait = True
) -> Response:
    """Train once all parties have registered, and return the fused model and its history.

    A run waits for its turn behind others. A run that is stopped meanwhile returns its last whole
    round. One that was cut short, by the server's end or the loss of its process, goes on after its
    last whole round, with the same results; where that is impossible it begins anew, as the notes
    of /status say then.
    """
    aggregator = await service.train(body.aggregator_id)
    if not wait:
        line = f"it is {aggregator.run.name}: GET /rounds/{{aggregator_id}} follows it"
        line = f"{line}; {aggregator.run.note}" if aggregator.run.note else line
        return JSONResponse(_progress(aggregator, line).model_dump(), 202)
    await service.wait(aggregator)
    if aggregator.run.name == FAILED:
        raise aggregator.run.error or RefusedError(
            "the run failed", "/train goes on after its last whole round"
        )
    if not aggregator.num_rounds:
        raise OrderError(
            f"it was {aggregator.run.name} before its first whole round",
            "POST /start-aggregator begins another",
        )
    model, _ = await service.model(client, aggregator, "json", "last")
    content = await asyncio.to_thread(_trained, aggregator, model)
    return Response(content, media_type="application/json")


@router.post("/stop", tags=STEPS, responses=refusals(400, 404, 413))
async def stop(body: schemas.AggregatorId, service: Injected) -> schemas.Progress:
    """Stop a run at its last whole round, end the federation, and delete its parties' data.

    Weights and history are kept. Stopping a federation that has ended does nothing.
    """
    aggregator = await service.stop(body.aggregator_id)
    rows = (
        "its parties kept their rows" if aggregator.keeps_rows else "its parties' data is deleted"
    )
    return _progress(aggregator, f"the federation has ended, and {rows}")


@router.get(
    "/weights/{aggregator_id}",
    tags=RESULTS,
    response_class=Response,
    responses={
        **refusals(400, 404, 413, 422),
        200: {
            "description": "the weights; the header X-Fusion-Round is the number of their round",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "application/octet-stream": {},
            },
        },
    },
)
async def weights(
    aggregator_id: Id,
    service: Injected,
    client: Client,
    format: Format = "json",
    which: OfRound = "last",
) -> Response:
    """Return the fused weights of the last or the best whole round, during training too."""
    aggregator = service.find(aggregator_id)
    request_fields.check_format(format, aggregator.formats, aggregator.about["model_type"])
    if format == "npz":
        content, number = await asyncio.to_thread(aggregator.folder.rounds.read, which)
    else:
        content, number = await service.model(client, aggregator, format, which)
    headers = {"X-Fusion-Round": str(number)}
    if format == "json":
        body = orjson.dumps({"round": number, "global_model": orjson.Fragment(content)})
        return Response(body, media_type="application/json", headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{_file_name(aggregator, format)}"'
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/status/{aggregator_id}", tags=RESULTS, responses=refusals(400, 404, 413))
async def status(aggregator_id: Id, service: Injected) -> schemas.Status:
    """Return the state of an aggregator and its run."""
    return schemas.Status(**service.status(aggregator_id))


@router.get(
    "/rounds/{aggregator_id}",
    tags=RESULTS,
    response_class=StreamingResponse,
    responses={
        **refusals(400, 404, 413),
        200: {
            "description": "one JSON record per line: round, metrics, party_metrics, cohort, "
            "seconds, bytes_up, ...; the header X-Fusion-Resumed-After is the last round before "
            "the run was cut short and taken up, or 0",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        },
    },
)
async def rounds(aggregator_id: Id, service: Injected, after: After = 0) -> Response:
    """Return one record per whole round: first those of the past and then, while the run trains,
    each new one.

    If parties have models of their own, the last round may come twice; its second record replaces
    the first.
    """
    aggregator = service.find(aggregator_id)
    headers = {
        "X-Accel-Buffering": "no",
        "X-Fusion-Resumed-After": str(aggregator.run.resumed_after),
    }
    lines = service.rounds(aggregator, after)
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)


# The same calls with the id as `?aggregator_id=`, as the original service's clients may write it.


@router.get("/status", include_in_schema=False)
async def status_by_query(aggregator_id: QueryId, service: Injected) -> schemas.Status:
    """Return the state of an aggregator and its run."""
    return await status(aggregator_id, service)


@router.get("/rounds", include_in_schema=False)
async def rounds_by_query(aggregator_id: QueryId, service: Injected, after: After = 0) -> Response:
    """Return one record per whole round."""
    return await rounds(aggregator_id, service, after)


@router.get("/weights", include_in_schema=False)
async def weights_by_query(
    aggregator_id: QueryId,
    service: Injected,
    client: Client,
    format: Format = "json",
    which: OfRound = "last",
) -> Response:
    """Return the fused weights of the last or the best whole round."""
    return await weights(aggregator_id, service, client, format, which)


@router.get("/aggregators", tags=RESULTS, responses=refusals(413))
async def aggregators(service: Injected, client: Client) -> schemas.Aggregators:
    """List the aggregators that this client started, the oldest first."""
    found = [schemas.Summary(**made.summary()) for made in service.aggregators_of(client)]
    return schemas.Aggregators(aggregators=found)


@router.delete("/aggregators/{aggregator_id}", tags=STEPS, responses=refusals(400, 404, 409, 413))
async def remove(aggregator_id: Id, service: Injected, client: Client) -> schemas.Message:
    """Delete an aggregator that has ended: its model, weights and history.

    Only the client that started it may do so.
    """
    await service.remove(client, aggregator_id)
    return schemas.Message(aggregator_id=aggregator_id, message="it is deleted")


@router.get("/health", tags=RESULTS, openapi_extra={"security": []}, responses=refusals(413))
async def health() -> schemas.Health:
    """Return that the server is up, without a key."""
    return schemas.Health(status="ok", version=__version__)


def _parties(count: int) -> str:
    return f"{count} {'party' if count == 1 else 'parties'}"


def _file_name(aggregator: Aggregator, format: str) -> str:
    """Return the name under which a model is downloaded.

    The format of the uploaded model keeps the upload's suffix, and any other is a suffix itself.
    """
    is_whole = format == aggregator.about.get("whole_format")
    return f"model{PurePath(aggregator.folder.model).suffix}" if is_whole else f"model.{format}"


def _progress(aggregator: Aggregator, line: str) -> schemas.Progress:
    return schemas.Progress(
        aggregator_id=aggregator.id,
        message=line,
        state=aggregator.run.name,
        round=aggregator.num_rounds,
    )


def _trained(aggregator: Aggregator, model: bytes) -> bytes:
    """Return the answer to /train. model: the fused weights as JSON."""
    progress = _progress(aggregator, "")
    rounds = "1 round" if progress.round == 1 else f"{progress.round} rounds"
    progress.message = f"{progress.state} after {rounds}"
    lines, _ = aggregator.folder.rounds.records()
    return orjson.dumps(
        {
            **progress.model_dump(),
            "reason": aggregator.run.reason,
            "global_model": orjson.Fragment(model),
            "history": [orjson.Fragment(line) for line in lines],
        }
    )
