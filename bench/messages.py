"""What is sent to a contestant and what comes back, over HTTP and gRPC alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serve_app.errors import UserError

JSON_TYPE: Mapping[str, str] = {"content-type": "application/json"}


@dataclass(frozen=True)
class Request:
    """A request: a POST, or a call of gRPC, whose path is its method's."""

    url: str
    body: bytes
    """Of gRPC the message, without its length."""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_TYPE)
    """Of gRPC the metadata."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request that was not refused."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Their names in lower case."""


class NoAnswerError(UserError):
    """A contestant that does not answer, or refuses: its text goes after the contestant's name."""
