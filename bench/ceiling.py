"""Ray's own ceiling: a deployment in the same mode that answers a constant.

Nothing is parsed, predicted or counted, and the response is made once, so no handler on Ray Serve
can be faster.
"""

from typing import TypedDict

from ray import serve
from ray.serve import Application
from starlette.requests import Request
from starlette.responses import Response


class CeilingArguments(TypedDict):
    """``args`` of the application."""

    body: str
    """What every request is answered; as long as a real answer."""


@serve.deployment
class Ceiling:
    """Answers a constant."""

    def __init__(self, body: str) -> None:
        """Make the response."""
        self._response = Response(body.encode(), media_type="application/json")

    async def __call__(self, _request: Request) -> Response:
        """Answer one HTTP request."""
        return self._response


def build_app(arguments: CeilingArguments) -> Application:
    """Serve application; ``import_path: bench.ceiling:build_app``."""
    return Ceiling.bind(arguments["body"])  # type: ignore[attr-defined]
