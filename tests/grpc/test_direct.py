"""Calls are answered before Serve's path; those for Serve go that way, as they are."""

import asyncio
from typing import Any, cast

import grpc
import pytest

from serve_app.grpc.rpcs import Reply, Rpcs
from serve_app.http import ongoing
from serve_app.protocols.use_case import UseCase
from serve_app.ray_internals.request_spans import RPC_STATUS, ServeSpan
from serve_app.telemetry.plain_spans import PlainContext, PlainSpan
from serve_app.tracing.requests import RequestSpans
from serve_app.tracing.sampling import NOT_SAMPLED
from tests.grpc.lane import METHOD, SERVES_WAY, Lane
from tests.http.lane import TRACED, UNTRACED, Ratio
from tests.support.grpc_service import PREFIX, GrpcClient, Outcome, infer_request
from tests.support.waiting import wait_until

SERVE = ServeSpan("replica_handle_request Classifier ModelInfer", {}, RPC_STATUS)
UNSEEN = [[4.8, 3.0, 1.4, 99.0]]


class Sluggish:
    """Answers no call."""

    is_slow = False

    async def __call__(self, *_arguments: object) -> Reply:
        await asyncio.sleep(60)
        raise AssertionError


def asked(lane: Lane, *metadata: tuple[str, str], rows: Any = UNSEEN) -> Outcome:
    """What a server with this path answers to one call."""
    with lane.server, GrpcClient(lane.server.address) as client:
        return client(METHOD, infer_request(rows, id="sent"), metadata=metadata)


def test_a_call_is_answered_and_entered(rpcs: Rpcs) -> None:
    """Without Serve, with an id and what was flagged, and it is counted by its status."""
    lane = Lane(rpcs)
    with lane.server, GrpcClient(lane.server.address) as client:
        good = client.infer(UNSEEN)
        bad = client.infer([[1.0]])
        named = client(METHOD, infer_request(), metadata=(("request_id", "mine"),))
    assert good.code is grpc.StatusCode.OK
    assert good.message.model_name == "iris"
    assert good.trailers["x-out-of-range-features"] == "petal_width"
    assert (bad.code, bad.message) == (grpc.StatusCode.INVALID_ARGUMENT, None)
    assert "shape [rows, 4]" in bad.details
    assert named.trailers["request_id"] == "mine"
    assert len({good.trailers["request_id"], bad.trailers["request_id"], "mine"}) == 3
    assert lane.handed_on == []
    lane.direct.ongoing.enter()
    assert sorted(lane.books.entries) == [
        (PREFIX + METHOD, "INVALID_ARGUMENT", 1),
        (PREFIX + METHOD, "OK", 2),
    ]
    assert lane.books.ongoing == 0


@pytest.mark.parametrize("reason", ["is_full", "has_access_log", "is_slow"])
def test_other_calls_are_serves(rpcs: Rpcs, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and metadata are handed on, and nothing is entered."""
    lane, metadata = Lane(rpcs), {"x-mine": "kept", "application": "classifier"}
    if reason == "is_full":
        lane.books.is_full = True
    elif reason == "has_access_log":
        lane.direct.ongoing.has_access_log = True
    else:
        monkeypatch.setattr(UseCase, "is_slow", True)
    assert asked(lane, *metadata.items()).details == SERVES_WAY
    ((request, found),) = lane.handed_on
    assert b"sent" in request
    assert found.items() >= metadata.items()
    assert "traceparent" not in found
    assert lane.books.entries == []


@pytest.mark.parametrize("metadata", [(), (("application", "classifier"),)])
def test_the_application_need_not_be_named(
    rpcs: Rpcs, metadata: tuple[tuple[str, str], ...]
) -> None:
    """Clients of the protocol know nothing of Serve's metadata."""
    assert asked(Lane(rpcs), *metadata).code is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("ratio", "traceparent", "is_traced"),
    [
        (0, TRACED, True),
        (1, None, True),
        (0, None, False),
        (0, "nonsense", False),
        (1, UNTRACED, False),
    ],
)
def test_what_is_decided_holds_on_serves_way(
    rpcs: Rpcs, ratio: float, traceparent: str | None, *, is_traced: bool
) -> None:
    """A call that goes there is traced as its caller says, or as the ratio wants it."""
    lane = Lane(rpcs, Ratio(ratio))
    lane.books.is_full = True
    given = () if traceparent is None else (("traceparent", traceparent),)
    asked(lane, *given)
    ((_, found),) = lane.handed_on
    decided = is_traced or traceparent == UNTRACED
    assert found.get("traceparent") == (traceparent if decided else NOT_SAMPLED.decode())


@pytest.mark.parametrize(("traceparent", "details"), [(TRACED, SERVES_WAY), (UNTRACED, "")])
def test_serve_makes_the_spans_where_nothing_else_does(
    rpcs: Rpcs, traceparent: str, details: str
) -> None:
    """A sampled call goes Serve's way if no relay takes the spans of this one."""
    assert asked(Lane(rpcs, Ratio(0)), ("traceparent", traceparent)).details == details


@pytest.mark.parametrize(
    ("rows", "status", "names"),
    [
        (UNSEEN, "OK", ["model_prediction", SERVE.name]),
        ([[1.0]], "INVALID_ARGUMENT", [SERVE.name]),
    ],
)
def test_a_sampled_call_has_its_spans(
    use_case: UseCase, rows: Any, status: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the model call within that of the call, within the caller's; of a refusal one."""
    spans: list[PlainSpan] = []
    monkeypatch.setattr(use_case._tracer, "_put", spans.append)
    lane = Lane(Rpcs(use_case), Ratio(0), RequestSpans(SERVE, spans.append))
    metadata = {"traceparent": TRACED, "tracestate": "vendor=1", "request_id": "mine"}
    asked(lane, *metadata.items(), rows=rows)
    assert [span[0] for span in spans] == names
    request = spans[-1]
    assert {span[4] for span in spans} == {int("a" * 32, 16)}
    assert {span[7] for span in spans} == {"vendor=1"}
    assert request[8] == (int("b" * 16, 16), True)
    assert request[11][-1] == {"request_id": "mine", RPC_STATUS: status}
    for span in spans[:-1]:
        assert span[8] == (request[5], False)
        assert span[11][-1]["request.protocol"] == "v2-grpc"


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """DEADLINE_EXCEEDED, as Serve says it, with the same event in its span; the slot is free."""
    monkeypatch.setattr(ongoing, "BOOKS_SECONDS", 0.02)
    spans: list[PlainSpan] = []
    lane = Lane(cast(Rpcs, Sluggish()), Ratio(1), RequestSpans(SERVE, spans.append))
    lane.books.timeout_seconds = 0.05
    found = asked(lane)
    assert found.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert found.details == "Request timed out after 0.05s."
    ((*_, (_, own), (event,), _status, _description),) = spans
    assert own[RPC_STATUS] == "DEADLINE_EXCEEDED"
    assert event[2]["exception.type"] == "asyncio.exceptions.CancelledError"
    assert lane.books.ongoing == 0


def test_a_client_that_goes_away_keeps_its_slot_until_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As over HTTP; what it would have been told is counted."""
    monkeypatch.setattr(ongoing, "BOOKS_SECONDS", 0.02)
    lane = Lane(cast(Rpcs, Sluggish()))
    lane.books.timeout_seconds = 1.0
    with lane.server, GrpcClient(lane.server.address) as client:
        gone = client("ModelInfer", infer_request(), timeout=0.5)
        assert gone.code is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: lane.books.entries)
    assert lane.books.entries == [(PREFIX + METHOD, "DEADLINE_EXCEEDED", 1)]
    assert lane.books.ongoing == 0


def test_the_parent_of_a_call_is_its_span(rpcs: Rpcs) -> None:
    """Without a caller it begins a trace; what is not sampled has no span."""
    parents: list[PlainContext | None] = []

    class Listening:
        is_slow = False

        async def __call__(self, name: str, request: bytes, parent: PlainContext | None) -> Reply:
            parents.append(parent)
            return await rpcs(name, request, parent)

    spans: list[PlainSpan] = []
    for ratio in (1, 0):
        asked(Lane(cast(Rpcs, Listening()), Ratio(ratio), RequestSpans(SERVE, spans.append)))
    (span,) = spans
    assert [parent and parent.span_id for parent in parents] == [span[5], None]
    assert span[8] is None
