"""deploy.checks: the smoke test, against real HTTP servers."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deploy.checks import SMOKE_REQUESTS, SPAN_TAKEN, TRACING_CHECK, CheckError, public_url, smoke
from deploy.shell import Shell
from deploy.kubectl import Kubectl
from deploy.names import PUBLIC_SERVICE
from tests.deploy.fake_tools import FakeTools

SAMPLE = {"instance": {"petal width (cm)": 0.2}, "predicted_class": "setosa"}


class Server(ThreadingHTTPServer):
    """Answers as the service does; what and how often can be chosen."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.predicted_class = "setosa"
        self.failures = 0
        self.model: dict[str, Any] = {"sample": SAMPLE}
        self.hangs_up = 0
        self.old_answers = 0
        self.bodies: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        assert self.path == "/model"
        if self.server.hangs_up:
            self.server.hangs_up -= 1
            self.wfile.write(b"HTTP/1.0 200 OK\r\ncontent-length: 100\r\n\r\n{")
        else:
            self._answer(200, self.server.model)

    def do_POST(self) -> None:
        assert self.path == "/predict/"
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        if self.server.failures:
            self.server.failures -= 1
            self._answer(502, {"detail": "no healthy upstream"})
        else:
            self.server.old_answers -= 1
            version = "old" if self.server.old_answers >= 0 else "abc123"
            answer = {"predicted_class": self.server.predicted_class, "model_version": version}
            self._answer(200, answer)

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(server: Server, deadline_seconds: float = 0.0, model: str = "") -> str:
    return smoke(
        lambda: server.url, model=model, deadline_seconds=deadline_seconds, sleep=lambda _s: None
    )


def test_smoke_sends_the_sample_of_the_model_card(server: Server) -> None:
    """Any model can be asked: what to send and to expect comes from the service itself."""
    said = run(server)

    assert server.bodies == [SAMPLE["instance"]] * SMOKE_REQUESTS
    assert said == f"{server.url} answered {SMOKE_REQUESTS} times with model abc123"


def test_smoke_waits_for_a_load_balancer_that_starts(server: Server) -> None:
    """Errors before the deadline are no failure; a full round without one is a pass."""
    server.failures = 3

    assert "model abc123" in run(server, deadline_seconds=60.0)


def test_smoke_waits_until_the_old_model_is_gone(server: Server) -> None:
    """The old Ray cluster answers until it has drained: a mixed round does not count."""
    server.old_answers = SMOKE_REQUESTS // 2

    assert "model abc123" in run(server, deadline_seconds=60.0)
    assert len(server.bodies) == 2 * SMOKE_REQUESTS

    server.old_answers = SMOKE_REQUESTS // 2
    with pytest.raises(CheckError, match="models abc123 and old answer at once"):
        run(server)


def test_smoke_waits_for_the_model_that_was_deployed(server: Server) -> None:
    """A whole round from the old cluster does not count, however consistent it is."""
    server.old_answers = SMOKE_REQUESTS

    assert "model abc123" in run(server, deadline_seconds=60.0, model="abc123")
    assert len(server.bodies) == 2 * SMOKE_REQUESTS

    with pytest.raises(CheckError, match="model abc123 answers, not def456"):
        run(server, model="def456")


def test_smoke_waits_for_a_connection_that_is_cut(server: Server) -> None:
    """A load balancer that starts may hang up in the middle of an answer."""
    server.hangs_up = 2
    assert "model abc123" in run(server, deadline_seconds=60.0)

    server.hangs_up = 1
    with pytest.raises(CheckError, match="IncompleteRead"):
        run(server)


@pytest.mark.parametrize("document", [{}, {"sample": {}}, {"sample": "setosa"}])
def test_smoke_fails_on_another_servers_answer(server: Server, document: dict[str, Any]) -> None:
    """JSON without what a model card has is a failed check, not a stack trace."""
    server.model = document

    with pytest.raises(CheckError, match=r"which has no '(sample|instance)': another server\?"):
        run(server)


def test_smoke_fails_with_the_answer_of_the_service(server: Server) -> None:
    """Status and body are in the message."""
    server.failures = 1000

    with pytest.raises(CheckError, match=r"answered 502: .*no healthy upstream"):
        run(server)


def test_smoke_fails_on_a_wrong_prediction(server: Server) -> None:
    """200 is not enough."""
    server.predicted_class = "virginica"

    with pytest.raises(CheckError, match="answered 'virginica' to the sample"):
        run(server)


def test_smoke_fails_where_nobody_listens(server: Server) -> None:
    """A refused connection is a failed check, not a stack trace."""
    with Server() as other:
        url = other.url

    with pytest.raises(CheckError, match="no good answer in 0 s: "):
        smoke(lambda: url, deadline_seconds=0.0)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (None, f"there is no Service {PUBLIC_SERVICE}"),
        (
            {"status": {"loadBalancer": {}}},
            f"Service {PUBLIC_SERVICE} has no address yet; behind a Gateway, name the URL",
        ),
        (
            {
                "spec": {"ports": [{"port": 80}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}},
            },
            "http://203.0.113.7:80",
        ),
    ],
)
def test_public_url_is_that_of_the_load_balancer(
    tools: FakeTools, service: dict[str, Any] | None, expected: str
) -> None:
    """It may take minutes to get one: until then the reason is clear."""
    tools.update(objects={f"service/{PUBLIC_SERVICE}": service} if service else {})

    try:
        found = public_url(Kubectl(Shell()))
    except CheckError as error:
        found = str(error)

    assert found == expected


@pytest.mark.parametrize(("exporter", "taken"), [("console", True), ("none", False)])
def test_the_application_says_whether_a_span_was_taken(exporter: str, taken: bool) -> None:
    """A line of its own words begins as the rollout expects; its exit code cannot tell."""
    done = subprocess.run(
        [sys.executable, *TRACING_CHECK[1:]],
        env={**os.environ, "OTEL_TRACES_EXPORTER": exporter},
        capture_output=True,
        text=True,
        check=True,
    )

    assert any(line.startswith(SPAN_TAKEN) for line in done.stdout.splitlines()) is taken
