"""What a request over HTTP is answered, and how it is refused."""

from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

OUT_OF_RANGE_HEADER = b"x-out-of-range-features"
INFERENCE_HEADER = b"inference-header-content-length"
"""Length of the JSON at the beginning of a body; what follows are tensors in bytes."""
JSON_TYPE, BINARY_TYPE = b"application/json", b"application/octet-stream"

Headers = tuple[tuple[bytes, bytes], ...]


class Answer(NamedTuple):
    """What a request is answered, as JSON if nothing else is said."""

    body: bytes
    status: int = 200
    headers: Headers = ()
    """Beyond `all_headers`."""
    content_type: bytes = JSON_TYPE

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Every header that depends on the answer alone."""
        return [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        ]


class HttpError(Exception):
    """A request that is refused, with the status and body that say why."""

    def __init__(self, status: int, detail: str, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def json_answer(content: Any, status: int = 200, headers: Headers = ()) -> Answer:
    """``content`` as JSON."""
    return Answer(orjson.dumps(content), status, headers)


def for_any_protocol(detail: str) -> bytes:
    """A refusal from where it is not known which protocol a client speaks: in both forms."""
    return orjson.dumps({"detail": detail, "error": detail})


def flagged(out_of_range: list[str]) -> Headers:
    """The header that names features with a value that training has not seen, if there are any."""
    if not out_of_range:
        return ()
    names = ",".join(quote(name, safe="") for name in out_of_range)
    return ((OUT_OF_RANGE_HEADER, names.encode()),)
