"""The page where each call can be tried by hand, served whole from this machine."""

from __future__ import annotations

from importlib.resources import as_file, files

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, RedirectResponse, Response

router = APIRouter(include_in_schema=False)
#: The page's own files, and what they are.
_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}


@router.get("/")
async def home() -> Response:
    """Lead people to the page."""
    return RedirectResponse("docs")


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Return the page. Its addresses are relative, so that it works behind a proxy."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Model Fusion",
        swagger_js_url="docs-files/swagger-ui-bundle.js",
        swagger_css_url="docs-files/swagger-ui.css",
        swagger_favicon_url="docs-files/favicon.png",
    )


@router.get("/docs-files/{name}")
async def docs_file(name: str) -> Response:
    """Return one of the page's files."""
    if name not in _FILES:
        return Response(status_code=404)
    with as_file(files("fastapi_offline") / "static" / name) as path:
        return Response(
            path.read_bytes(), media_type=_FILES[name], headers={"Cache-Control": "max-age=86400"}
        )
