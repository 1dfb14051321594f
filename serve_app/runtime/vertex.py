"""What Vertex AI tells a container by environment variables.

Source: "Custom container requirements for inference" of Vertex AI's documents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import TypeAdapter, ValidationError

from serve_app.environment import EnvironmentVariableError
from serve_app.settings import Route

HTTP_PORT, PREDICT_ROUTE, HEALTH_ROUTE = "AIP_HTTP_PORT", "AIP_PREDICT_ROUTE", "AIP_HEALTH_ROUTE"
LARGEST_PORT = 65_535
MAX_DIGITS = 5


@dataclass(frozen=True)
class VertexContract:
    """Where Vertex AI sends its requests; all None where the service runs elsewhere."""

    port: int | None
    predict_route: str | None
    health_route: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """The contract that ``environment`` states.

        Raises:
            EnvironmentVariableError: a port or a route that is none.
        """
        return cls(
            _port(environment),
            _route(PREDICT_ROUTE, environment),
            _route(HEALTH_ROUTE, environment),
        )

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of the application that follow from it."""
        routes = {
            "vertex_predict_route": self.predict_route,
            "vertex_health_route": self.health_route,
        }
        return {name: route for name, route in routes.items() if route is not None}


def _port(environment: Mapping[str, str]) -> int | None:
    text = environment.get(HTTP_PORT, "")
    if not text:
        return None
    if not (text.isdecimal() and len(text) <= MAX_DIGITS and 1 <= int(text) <= LARGEST_PORT):
        raise EnvironmentVariableError(f"{HTTP_PORT}={text[:50]!r} is not a port")
    return int(text)


def _route(name: str, environment: Mapping[str, str]) -> str | None:
    route = environment.get(name, "")
    if not route:
        return None
    try:
        return TypeAdapter(Route).validate_python(route)
    except ValidationError:
        raise EnvironmentVariableError(
            f"{name}={route[:100]!r} is not the path of a URL, such as /predict"
        ) from None
