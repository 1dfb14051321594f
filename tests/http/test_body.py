"""The body of a request: taken in pieces, up to its limits, and only as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from serve_app.http.routes import Routes
from tests.support.in_process import (
    JSON_HEADERS,
    STALLED,
    ask,
    assert_documented,
    make_routes,
    post,
)
from tests.support.iris_requests import BODY, MAX_BODY_BYTES, PREDICT, ROW


@pytest.mark.parametrize("body", [BODY, [BODY], [BODY[:7], b"", BODY[7:]]])
@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=UTF-8"],
)
def test_a_body_may_come_in_pieces_and_name_its_charset(
    routes: Routes, body: Any, content_type: str
) -> None:
    """How the body travels makes no difference."""
    answer = ask(routes, "POST", PREDICT, body, headers={"content-type": content_type})
    assert answer.json() == post(routes, ROW).json()


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_a_body_may_say_that_it_is_not_compressed(routes: Routes, encoding: str) -> None:
    """Also by a header that lists no encoding."""
    headers = {**JSON_HEADERS, "content-encoding": encoding}
    assert ask(routes, "POST", PREDICT, BODY, headers=headers).status == 200


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({}, "''"),
        ({"content-type": "text/plain"}, "'text/plain'"),
        ({"content-type": "application/x-www-form-urlencoded"}, "urlencoded"),
        ({"content-type": "application/json; charset=latin-1"}, "charset=latin-1"),
        ({"content-type": "application/jsonp"}, "application/jsonp"),
        ({"content-type": "x" * 5000}, "xxx"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "'gzip'"),
        ({"content-type": "application/json", "content-encoding": "br, gzip"}, "'br, gzip'"),
    ],
)
def test_only_uncompressed_json_in_utf8_is_taken(
    routes: Routes, document: Any, headers: Mapping[str, str], named: str
) -> None:
    """415 names what was sent and what to send; the body is not even read."""
    answer = ask(routes, "POST", PREDICT, BODY, headers=headers)
    assert answer.status == 415
    assert_documented(document, "POST", PREDICT, answer)
    assert named in answer.detail
    assert "uncompressed" in answer.detail or "application/json in UTF-8" in answer.detail
    assert (answer.chunks_read, len(answer.body) < 300) == (0, True)


def test_a_body_that_declares_too_much_is_not_read(routes: Routes, document: Any) -> None:
    """413 comes before the first byte, names the limit, and closes the connection."""
    answer = ask(routes, "POST", PREDICT, BODY + b" " * MAX_BODY_BYTES)
    assert (answer.status, answer.chunks_read) == (413, 0)
    assert_documented(document, "POST", PREDICT, answer)
    assert "larger than 2000 bytes" in answer.detail
    assert answer.headers["connection"] == "close"


def test_a_body_of_undeclared_length_is_read_up_to_the_limit(routes: Routes) -> None:
    """A chunked body is cut off as soon as it is too large, not read to its end."""
    chunk = b" " * 500
    answer = ask(routes, "POST", PREDICT, [BODY, *[chunk] * 1000])
    assert answer.status == 413
    assert answer.chunks_read == 5


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_of_just_the_limit_is_taken(routes: Routes, *, declared: bool) -> None:
    """The limit itself is allowed, one byte more is not."""
    for spaces, status in ((0, 200), (1, 413)):
        body = BODY + b" " * (MAX_BODY_BYTES - len(BODY) + spaces)
        assert ask(routes, "POST", PREDICT, body if declared else [body]).status == status


def test_a_client_that_goes_away_is_no_error_of_the_service(routes: Routes) -> None:
    """Half a body is answered 400, not 5xx."""
    answer = ask(routes, "POST", PREDICT, [BODY[:10], None])
    assert answer.status == 400
    assert "closed the connection" in answer.detail


@pytest.mark.parametrize("header", ["0", "-1", "1e9"])
def test_a_body_that_does_not_end_is_408(iris: Path, header: str) -> None:
    """A client that switches Serve's own time-out off may not hold the replica for ever."""
    routes = make_routes(iris, max_body_seconds=0.05)
    headers = {**JSON_HEADERS, "x-request-timeout-seconds": header}
    answer = ask(routes, "POST", PREDICT, [b'{"sepal_length": ', STALLED], headers=headers)
    assert answer.status == 408
    assert answer.detail == "The body did not end within 0.05 s"
    assert answer.headers["connection"] == "close"


def test_a_body_in_time_may_have_a_timeout_of_its_own(routes: Routes) -> None:
    """The client's header changes nothing for a body that is there."""
    headers = {**JSON_HEADERS, "x-request-timeout-seconds": "5"}
    assert ask(routes, "POST", PREDICT, json.dumps(ROW).encode(), headers=headers).status == 200
