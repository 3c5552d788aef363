"""The service over HTTP: what a client may ask, who may ask it, and how it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fusion_nb.service.api import page, routes, schemas
from fusion_nb.service.api.middleware import Gate
from fusion_nb.service.service import Service
from fusion_nb.service.settings import Settings
from fusion_nb.service.storage.keys import Keys
from fusion_nb.version import __version__

_ABOUT = """Federated learning over HTTP: start an aggregator with a model, register parties with
their data, train, fetch the fused weights, stop. Parties' rows are used for training alone: no call
returns them, and `/stop` deletes them.

Every call but `/health` needs a client's id and secret, in a Basic header, as `Bearer ID:SECRET`,
or in the address (`http://ID:SECRET@host:port`). Whoever has a key and an `aggregator_id` may take
part in that federation, so hand the id out to its parties alone. Errors are JSON with `error`,
`hint` (what to do next) and, where there is one, `field`.
"""


def create_app(settings: Settings, keys: Keys) -> FastAPI:
    """Return the application; the folder `settings.state` is its own while it runs."""

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
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Relative, so that the page works behind a proxy that serves all this under a prefix.
        servers=[{"url": "."}],
    )
    app.include_router(routes.router)
    app.include_router(page.router)
    schemas.install(app)
    app.add_middleware(Gate, keys=keys, max_upload=settings.max_upload)
    return app
