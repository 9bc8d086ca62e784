"""The page at /docs: Swagger UI from the package, nothing from the internet."""

from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response
from swagger_ui_bundle import swagger_ui_path

from taskloom.errors import NotFound

router = APIRouter(include_in_schema=False)

_TYPES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Taskloom: the calls</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
"""


@router.get("/docs")
async def get_page() -> Response:
    """Show every call, to read and to try."""
    return Response(
        _PAGE,
        media_type="text/html; charset=utf-8",
        headers={"content-security-policy": _POLICY},
    )


@router.get("/docs/start.js")
async def get_start() -> Response:
    """Start the page; a file of its own, so that the page needs no inline script."""
    return Response(_START, media_type="text/javascript; charset=utf-8")


@router.get("/docs/{name}")
async def get_asset(name: str) -> Response:
    """Serve one of the package's files."""
    if name not in _TYPES:
        raise NotFound(f"There is no /docs/{name}.")
    return Response(
        _asset(name), media_type=_TYPES[name], headers={"cache-control": "max-age=86400"}
    )


@cache
def _asset(name: str) -> bytes:
    return (Path(str(swagger_ui_path)) / name).read_bytes()
