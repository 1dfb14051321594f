"""Everything that can be tuned in the application, typed; values are set in serve_config.yaml."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from serve_app.model.card import Engine

Route = Annotated[str, Field(pattern=r"^/[^\s?#]*$")]
"""Path of a URL."""


def _listed(value: Any) -> Any:
    """Names from a command line, separated by commas."""
    return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


def as_typed(default: object) -> str:
    """A default as it would be typed: names of a list are separated by commas."""
    return ",".join(default) if isinstance(default, tuple) else str(default)


class Settings(BaseModel):
    """Arguments of the Serve application.

    They are ``args`` in serve_config.yaml and ``key=value`` of ``serve run``.
    """

    # model_* are our own names here, not pydantic's.
    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True
    )

    model_dir: Path = Path("model")
    """Model directory, relative to the directory in which Ray was started."""

    model_version: str | None = None
    """Refuse to serve any other model version than this; None serves what is there."""

    engine: Literal["auto", Engine] = "auto"
    """``onnx`` or ``sklearn`` override the choice that packaging made; ``auto`` follows it."""

    max_body_bytes: Annotated[int, Field(ge=1)] = 1024 * 1024
    """Largest request body in bytes; a larger one is answered 413 without reading it all."""

    max_rows: Annotated[int, Field(ge=1)] = 1000
    """Largest number of instances in one batch request."""

    max_body_seconds: Annotated[float, Field(gt=0)] = 10.0
    """Longest wait for the body of a client that has replaced Serve's own time-out."""

    max_batch_rows: Annotated[int, Field(ge=1)] = 64
    """Most rows that one model call predicts for several requests."""

    direct_path: bool = True
    """Answer usual predictions before Serve's own path; ``false`` sends all through it."""

    protocols: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ("v2", "v1", "vertex")
    """Protocols to speak beside ``/predict/``: modules of ``serve_app.protocols``, by name."""

    vertex_predict_route: Route | None = None
    """Path of Vertex AI's predictions; the launcher takes it from ``AIP_PREDICT_ROUTE``."""

    vertex_health_route: Route | None = None
    """Path of Vertex AI's health checks; the launcher takes it from ``AIP_HEALTH_ROUTE``."""

    def engine_override(self) -> Engine | None:
        """Engine to use in place of the card's choice, if any."""
        return None if self.engine == "auto" else self.engine
