"""How requests come to a server: HTTP or gRPC."""

import shutil
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import grpc
import httpx

from bench.load import LoadResult, closed_loop
from bench.load_grpc import closed_loop_grpc
from bench.messages import Answer, NoAnswerError, Request
from serve_app.errors import UserError, excerpt

TIMEOUT_SECONDS = 30.0


class Transport(Protocol):
    """Sends requests."""

    def exchange(self, request: Request) -> Answer:
        """Send one request.

        Raises:
            NoAnswerError: no answer, or a refusal.
        """
        ...

    def closed_loop(
        self, request: Request, *, connections: int, seconds: int, scratch: Path
    ) -> LoadResult:
        """Send ``request`` over ``connections``, on each again as soon as it is answered.

        Raises:
            NoAnswerError: no answer to the first one, or a refusal.
            NothingAnsweredError: no request was answered in time.
            UserError: the load generator fails.
        """
        ...


class Http:
    """A POST for each request."""

    def exchange(self, request: Request) -> Answer:
        """See `Transport.exchange`."""
        try:
            # The machine's proxy settings are for other addresses.
            with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
                response = client.post(
                    request.url, content=request.body, headers=dict(request.headers)
                )
        except httpx.HTTPError as error:
            raise NoAnswerError(f"does not answer {request.url}: {error!r}") from error
        if response.status_code != httpx.codes.OK:
            raise NoAnswerError(f"answered {response.status_code}: {excerpt(response.text)}")
        return Answer(response.content, dict(response.headers))

    def closed_loop(
        self, request: Request, *, connections: int, seconds: int, scratch: Path
    ) -> LoadResult:
        """See `Transport.closed_loop`."""
        return closed_loop(request, connections=connections, seconds=seconds, scratch=scratch)


class Grpc:
    """A unary call for each request."""

    def exchange(self, request: Request) -> Answer:
        """See `Transport.exchange`."""
        parts = urlsplit(request.url)
        options = (("grpc.enable_http_proxy", 0),)
        with grpc.insecure_channel(parts.netloc, options) as channel:
            try:
                body = channel.unary_unary(parts.path)(
                    request.body, timeout=TIMEOUT_SECONDS, metadata=tuple(request.headers.items())
                )
            except grpc.RpcError as error:
                text = excerpt(error.details() or "")
                raise NoAnswerError(f"answered {error.code().name}: {text}") from error
        return Answer(body)

    def closed_loop(
        self, request: Request, *, connections: int, seconds: int, scratch: Path
    ) -> LoadResult:
        """See `Transport.closed_loop`."""
        answer = self.exchange(request).body
        return closed_loop_grpc(
            request, answer, connections=connections, seconds=seconds, scratch=scratch
        )


HTTP, GRPC = Http(), Grpc()
GENERATORS = {"wrk": "wrk", "h2load": "nghttp2-client"}
"""Load generators, and Debian's package of each."""


def require_generator(name: str) -> None:
    """Check that a load generator is there.

    Raises:
        UserError: it is not installed; says how to install it.
    """
    if shutil.which(name) is None:
        fix = f"on Debian: apt install {GENERATORS[name]}"
        raise UserError(f"{name}, the load generator, is not installed; {fix}")
