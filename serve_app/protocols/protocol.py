"""What a protocol over HTTP is: a module of this package with a class ``Translator``.

It is found by its name, which `Settings.protocols` lists. Nothing else knows of it.
"""

import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from serve_app.errors import UserError
from serve_app.protocols.answers import Answer, Headers, json_answer
from serve_app.protocols.described import Description
from serve_app.protocols.errors import InvalidBodyError
from serve_app.protocols.use_case import UseCase
from serve_app.telemetry.plain_spans import PlainContext

PACKAGE = __name__.rpartition(".")[0]
NATIVE = "native"
"""The protocol that is always there."""

Predict = Callable[[bytes, PlainContext | None, bytes | None], Awaitable[Answer]]
"""Answers a body. Then the request's span, None if it is not sampled; and the value of the header
``Inference-Header-Content-Length``, None if there is none."""
Describe = Callable[[], Answer]


class HttpProtocol(Protocol):
    """A protocol that translates between HTTP and the `UseCase`."""

    prefix: str
    """Of its paths. What is unknown below it is refused in the protocol's form."""
    takes_any_type: bool
    """Whether a body may come without a content type, or as ``application/octet-stream``."""

    @property
    def predictions(self) -> Mapping[str, Predict]:
        """What is done for a POST, by path."""
        ...

    @property
    def documents(self) -> Mapping[str, Describe]:
        """What is answered to a GET, by path."""
        ...

    def invalid(self, error: InvalidBodyError) -> Answer:
        """A body that does not fit."""
        ...

    def refused(self, status: int, detail: str, headers: Headers = ()) -> Answer:
        """Every other refusal, and failures of the service."""
        ...

    def describe(self) -> Description:
        """What it adds to the OpenAPI document."""
        ...

    def unknown(self, path: str) -> str | None:
        """What is said of a path that is not known; None for what is said of any path."""
        ...


class OneLineErrors:
    """Refusals as KServe, Triton and MLServer write them: JSON with one string, ``error``."""

    def invalid(self, error: InvalidBodyError) -> Answer:
        """400, as these answer whatever a client can change."""
        return self.refused(400, error.text)

    def refused(self, status: int, detail: str, headers: Headers = ()) -> Answer:
        """See `HttpProtocol.refused`."""
        return json_answer({"error": detail}, status, headers)


class ProtocolError(UserError):
    """A protocol that does not exist."""


def require_protocols(names: Iterable[str]) -> None:
    """Check that there are protocols of these names.

    Raises:
        ProtocolError: there is none.
    """
    for name in names:
        _translator(name)


def make_protocols(use_case: UseCase) -> dict[str, HttpProtocol]:
    """The protocols that the settings name, by their names, the native one first.

    Raises:
        ProtocolError: there is no such protocol.
    """
    return {name: _translator(name)(use_case) for name in (NATIVE, *use_case.settings.protocols)}


def _translator(name: str) -> Any:
    module = f"{PACKAGE}.{name}"
    try:
        found = importlib.import_module(module) if name.isidentifier() else None
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        found = None
    translator = getattr(found, "Translator", None)
    if translator is None:
        raise ProtocolError(f"protocols={name!r}: there is no protocol of this name")
    return translator
