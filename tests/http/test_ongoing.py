"""Requests of the direct path are in Serve's books, and ended when they take too long."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from serve_app.http import ongoing
from serve_app.protocols.answers import Answer
from serve_app.telemetry.plain_spans import PlainContext, PlainSpan
from serve_app.tracing.requests import RequestSpans
from tests.http.lane import BODY, SERVE, Lane, Ratio


class Sluggish:
    """A model that never answers."""

    predictions = ("/predict/",)
    takes_any_type = ()
    max_body_bytes = len(BODY)
    is_slow = False

    async def predict(
        self, path: str, body: bytes, parent: PlainContext | None, head: bytes | None
    ) -> Answer:
        del path, body, parent, head
        await asyncio.Event().wait()
        raise AssertionError


def test_requests_are_entered_in_the_books(lane: Lane) -> None:
    """Once a second, in bulk, by status; a request under way is counted as ongoing."""

    async def go() -> None:
        app = lane.make()
        for _ in range(3):
            await lane.ask(app, {}, [BODY])
        await lane.ask(app, {"content-length": "2"}, [b"{}"])
        assert lane.books.entries == []
        app.ongoing.enter()
        assert lane.books.entries == [("POST", 200, 3), ("POST", 422, 1)]
        app.ongoing.enter()
        assert len(lane.books.entries) == 2

    asyncio.run(go())


def test_the_books_are_kept_without_being_asked(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also after an entry that failed, which is logged."""
    monkeypatch.setattr(ongoing, "BOOKS_SECONDS", 0.01)
    enter = lane.books.enter
    failures = iter([RuntimeError("no metrics")])

    def refuse_once(method: str, status: int, latencies: Sequence[float]) -> None:
        for failure in failures:
            raise failure
        enter(method, status, latencies)

    monkeypatch.setattr(lane.books, "enter", refuse_once)

    async def go() -> None:
        app = lane.make()
        for _ in range(100):
            await lane.ask(app, {}, [BODY])
            await asyncio.sleep(0.01)
            if lane.books.entries:
                return

    asyncio.run(go())
    assert lane.books.entries
    assert "requests could not be counted" in caplog.text


def test_what_takes_too_long_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Serve answers it, with the same event in its span; the slot is free again."""
    monkeypatch.setattr(ongoing, "BOOKS_SECONDS", 0.01)
    spans: list[PlainSpan] = []
    lane = Lane(Sluggish())
    lane.books.timeout_seconds = 0.05
    lane._sampling, lane._spans = Ratio(1), RequestSpans(SERVE, spans.append)

    async def go() -> tuple[int, dict[str, str], Any]:
        app = lane.make()
        request = asyncio.create_task(lane.ask(app, {"x-request-id": "mine"}, [BODY]))
        while not request.done():
            await asyncio.sleep(0.01)
            assert lane.books.ongoing == (not request.done())
            app.ongoing.enter()
        return await request

    status, headers, answer = asyncio.run(go())
    assert (status, headers["x-request-id"]) == (408, "mine")
    said = "Request mine timed out after 0.05s."
    assert answer == {"detail": said, "error": said}
    ((*_, (_, own), (event,), _status, _description),) = spans
    assert own == {"request_id": "mine", "http.status_code": "408"}
    assert event[2]["exception.type"] == "asyncio.exceptions.CancelledError"
    assert lane.books.ongoing == 0


def test_a_server_that_stops_is_not_held_up() -> None:
    """A request that is cancelled from outside is not answered 408."""
    lane = Lane(Sluggish())

    async def go() -> None:
        request = asyncio.create_task(lane.ask(lane.make(), {}, [BODY]))
        await asyncio.sleep(0.01)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(go())
    assert lane.books.ongoing == 0
