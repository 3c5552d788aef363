"""The service over HTTP: routes, authentication, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from fusion_nb.service.api import message_routes, page, problems, routes
from fusion_nb.service.api.middleware import AccessControl
from fusion_nb.service.api.sites import Sites
from fusion_nb.service.service import Service
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage.keys import Keys
from fusion_nb.version import __version__

_DESCRIPTION = """Federated learning over HTTP: start an aggregator with a model, register parties
with their data, train, fetch the fused weights, stop. Parties' rows are used for training only: no
call returns them, and `/stop` deletes them. A party that keeps its rows sends none: it trains in a
program of its own (`fusion-nb party --service`), and weights travel.

Every call except `/health` needs a client's id and secret, in a Basic header, as `Bearer
ID:SECRET`, or in the address (`http://ID:SECRET@host:port`). A client that has a key and an
`aggregator_id` may take part in that federation, so give the id to its parties only. Errors are
JSON with `error` and `hint` (what to do next) and, where they are known, `field`, `option`, `value`
and `allowed`.
"""


def create_app(settings: Settings, keys: Keys, host: str = "127.0.0.1") -> FastAPI:
    """Return the application. While it runs, no other process may use `settings.state`.

    host: the address that the server listens on
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service(settings)
        await app.state.service.open()
        try:
            yield
        finally:
            await app.state.service.close()

    app = FastAPI(
        title="Model Fusion",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Relative, so that the page works behind a proxy that adds a prefix.
        servers=[{"url": "."}],
    )
    app.include_router(routes.router)
    app.include_router(message_routes.router)
    app.include_router(page.router)
    problems.install(app)
    sites = Sites.of(host, settings.allowed_hosts, settings.allowed_origins)
    app.add_middleware(AccessControl, keys=keys, sites=sites, max_upload=settings.max_upload)
    if sites.origins:
        # Their pages may read the answers too.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(sites.origins),
            allow_credentials=True,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["X-Fusion-Round", "X-Fusion-Resumed-After"],
        )
    return app
