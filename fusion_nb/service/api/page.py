"""A page for trying each call by hand; all its files come from this server."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fusion_nb.reporting.templates import render

router = APIRouter(include_in_schema=False)
#: Files of the page -> their media types.
_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}


@router.get("/")
async def home() -> Response:
    """Redirect to the page."""
    return RedirectResponse("docs")


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Return the page. Its links are relative, so that it works behind a proxy."""
    return HTMLResponse(_page())


@router.get("/docs-files/{name}")
async def docs_file(name: str) -> Response:
    """Return one of the page's files."""
    if name not in _MEDIA_TYPES:
        return Response(status_code=404)
    content = (files("fastapi_offline") / "static" / name).read_bytes()
    return Response(
        content, media_type=_MEDIA_TYPES[name], headers={"Cache-Control": "max-age=86400"}
    )


@cache
def _page() -> str:
    source = (files("fusion_nb.service.api") / "docs.html").read_text(encoding="utf-8")
    return render(source, title="Model Fusion", folder="docs-files", document="openapi.json")
