"""The page ``/docs``: Swagger UI, with its script and style from this service.

The files come from the package fastapi-offline, so that the page needs no other host. Its module is
not imported: only its files are used.
"""

from importlib import metadata
from pathlib import Path

from starlette.responses import HTMLResponse, Response

ASSETS = {"/docs/swagger-ui.js": "swagger-ui-bundle.js", "/docs/swagger-ui.css": "swagger-ui.css"}
"""File of each path."""
MEDIA_TYPES = {"js": "text/javascript", "css": "text/css"}
DAY_SECONDS = 24 * 60 * 60
NO_ICON = "data:,"
"""Browsers ask for an icon unless the page names one."""


def docs_page(root: str, title: str) -> Response:
    """The page of a service that is mounted at ``root``."""
    from fastapi.openapi.docs import get_swagger_ui_html

    script, style = (f"{root}{path}" for path in ASSETS)
    page: HTMLResponse = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=title,
        swagger_js_url=script,
        swagger_css_url=style,
        swagger_favicon_url=NO_ICON,
    )
    return page


def asset(path: str) -> Response:
    """The file of a path in `ASSETS`."""
    name = ASSETS[path]
    # Not importlib.resources, which would import the package, and with it all of FastAPI.
    files = metadata.distribution("fastapi-offline").locate_file("fastapi_offline/static")
    content = Path(str(files), name).read_bytes()
    return Response(
        content,
        media_type=MEDIA_TYPES[name.rpartition(".")[2]],
        headers={"cache-control": f"public, max-age={DAY_SECONDS}"},
    )
