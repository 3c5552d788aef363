"""The calls of parties that keep their rows: they fetch requests of a run, and send replies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Header, Query, Request
from fastapi import Path as InPath
from starlette.responses import Response, StreamingResponse

from fusion_nb.service.api import bodies, schemas
from fusion_nb.service.api.problems import refusals
from fusion_nb.service.api.routes import Id, Injected, parties_group

router = APIRouter(tags=parties_group)

Name = Annotated[str, Query(description="the party's name", max_length=400)]
Token = Annotated[
    str,
    Header(
        alias="X-Fusion-Token",
        description="the token with which the party registered",
        max_length=200,
    ),
]
Node = Annotated[
    str, Query(description="the node that /start-party returned to this program", max_length=40)
]
Last = Annotated[
    str,
    Query(description="X-Fusion-Message of the last message that arrived, or empty", max_length=60),
]
Message = Annotated[str, InPath(description="X-Fusion-Message of the request", max_length=60)]
#: Bytes of a message that are in memory at once.
_PART = 1 << 20


async def _parts(file: BinaryIO) -> AsyncIterator[bytes]:
    """Yield the content of a file in parts, and close it."""
    with file:
        while part := await asyncio.to_thread(file.read, _PART):
            yield part


@router.get(
    "/messages/{aggregator_id}",
    response_class=Response,
    responses={
        **refusals(400, 403, 404, 409, 413),
        200: {
            "description": "a message, as plain data; the header X-Fusion-Message is its id",
            "content": {"application/octet-stream": {}},
        },
        204: {
            "description": "there is none now; the header X-Fusion-Ended is `true` once the "
            "federation has ended, and parties have no more to do"
        },
    },
)
async def next_message(
    request: Request,
    aggregator_id: Id,
    party: Name,
    node: Node,
    token: Token,
    service: Injected,
    after: Last = "",
) -> Response:
    """Return the next message of a run to a party that keeps its rows; wait for one for a while.

    A message comes again until a call names it, or a later one, as `after`.
    """
    found = await service.messages.next(
        service.find(aggregator_id),
        party,
        token,
        node=node,
        after=after,
        is_gone=request.is_disconnected,
    )
    if found.body is None:
        return Response(None, 204, {"X-Fusion-Ended": str(found.has_ended).lower()})
    headers = {
        "X-Fusion-Message": found.id,
        "Content-Length": str(os.fstat(found.body.fileno()).st_size),
    }
    return StreamingResponse(
        _parts(found.body), media_type="application/octet-stream", headers=headers
    )


@router.post(
    "/messages/{aggregator_id}/{message_id}",
    openapi_extra=bodies.REPLY,
    responses=refusals(400, 403, 404, 413, 422),
)
async def reply(
    request: Request,
    aggregator_id: Id,
    message_id: Message,
    party: Name,
    token: Token,
    service: Injected,
) -> schemas.Message:
    """Take the reply of a party to a message, as plain data: the body of the request."""
    aggregator = service.find(aggregator_id)
    await service.messages.answer(
        aggregator, party, token, message=message_id, body=request.stream()
    )
    return schemas.Message(aggregator_id=aggregator.id, message="the run has the reply")
