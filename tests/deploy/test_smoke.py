"""The smoke test counts only what the deployed model answers, and says what it waits for."""

import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.kubectl import Kubectl
from deploy.names import PUBLIC_SERVICE
from deploy.shell import Shell
from deploy.smoke import SMOKE_REQUESTS, public_url, smoke
from serve_app.cli.main import main
from serve_app.errors import CheckFailedError
from serve_app.model.card import ModelCard
from tests.deploy.fake_tools import FakeTools
from tests.support.loopback import LoopbackServer, QuietHandler


class Service(LoopbackServer):
    """Answers as the service does; what and how often can be chosen."""

    def __init__(self, card: ModelCard) -> None:
        self.card: dict[str, Any] = {"engine": "onnx", **card.model_dump(mode="json")}
        self.predicted_class = card.sample.answer["predicted_class"]
        self.failures = self.hang_ups = self.old_answers = 0
        self.bodies: list[Any] = []
        service = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                if service.hang_ups:
                    service.hang_ups -= 1
                    self.wfile.write(b"HTTP/1.0 200 OK\r\ncontent-length: 100\r\n\r\n{")
                else:
                    self.answer(json.dumps(service.card).encode())

            def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
                length = int(self.headers["content-length"])
                service.bodies.append(json.loads(self.rfile.read(length)))
                if service.failures:
                    service.failures -= 1
                    self.answer(b"no healthy upstream", 502)
                    return
                service.old_answers -= 1
                version = "old" if service.old_answers >= 0 else "abc123"
                answer = {
                    **card.sample.answer,
                    "predicted_class": service.predicted_class,
                    "model_version": version,
                }
                self.answer(json.dumps(answer).encode())

        super().__init__(Handler)


@pytest.fixture
def service(card: ModelCard) -> Iterator[Service]:
    with Service(card) as service:
        yield service


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two rounds."""
    monkeypatch.setattr("deploy.rollout.POLL_SECONDS", 0.0)


def run(service: Service, deadline: float = 0.0, model: str | None = None) -> list[str]:
    """Run a smoke test, and return the lines that it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        smoke(lambda: service.url, deadline, model)
    return output.getvalue().splitlines()


def test_it_sends_the_sample_of_the_model_card(service: Service, card: ModelCard) -> None:
    """Any model can be asked: what to send and to expect comes from the service itself."""
    (said,) = run(service)

    assert service.bodies == [card.example] * SMOKE_REQUESTS
    assert said.endswith(f"ready: {service.url} answered {SMOKE_REQUESTS} times with model abc123")


def test_it_waits_for_a_load_balancer_that_starts(service: Service) -> None:
    """Errors before the deadline are no failure; each reason to wait is said once."""
    service.failures = 3
    service.hang_ups = 2

    first, second, result = run(service, deadline=60.0)

    assert "cannot be reached" in first
    assert "answered 502: no healthy upstream" in second
    assert "model abc123" in result


def test_it_waits_until_the_old_model_is_gone(service: Service) -> None:
    """The old Ray cluster answers until it has drained: a mixed round does not count."""
    service.old_answers = SMOKE_REQUESTS // 2

    waiting, result = run(service, deadline=60.0)

    assert "models abc123 and old answer at once" in waiting
    assert "model abc123" in result
    assert len(service.bodies) == 2 * SMOKE_REQUESTS


def test_it_waits_for_the_model_that_was_deployed(service: Service) -> None:
    """A whole round from the old cluster does not count, however consistent it is."""
    service.old_answers = SMOKE_REQUESTS
    assert "model abc123" in run(service, deadline=60.0, model="abc123")[-1]

    with pytest.raises(CheckFailedError, match="ready after 0 s: model abc123 answers, not def456"):
        run(service, model="def456")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"predicted_class": "no such class"},
            "does not have: 'no such class'",
        ),
        ({"card": {}}, "shows no model card of this service"),
        ({"card": []}, "is not a JSON object"),
        ({"failures": 1000}, "answered 502: no healthy upstream"),
        ({"hang_ups": 1000}, "cannot be reached"),
    ],
)
def test_it_fails_at_the_deadline_with_the_last_reason(
    service: Service, change: dict[str, Any], message: str
) -> None:
    """A wrong class, another server and every failure of HTTP are failed checks."""
    vars(service).update(change)

    with pytest.raises(CheckFailedError, match=message):
        run(service)


def test_the_command_takes_the_address_from_the_load_balancer(
    service: Service, tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --url the public Service names it; with --url kubectl is not asked."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    public = {
        "spec": {"ports": [{"port": int(port)}]},
        "status": {"loadBalancer": {"ingress": [{"ip": host}]}},
    }
    tools.update(objects={f"service/{PUBLIC_SERVICE}": public})

    assert main(["k8s", "rollout", "smoke", "--model", "abc123"]) == 0
    assert f"{service.url} answered" in capsys.readouterr().out
    tools.forget()

    assert main(["k8s", "rollout", "smoke", "--url", service.url]) == 0
    assert tools.commands == []


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, f"there is no Service {PUBLIC_SERVICE}"),
        (
            {"status": {"loadBalancer": {}}},
            f"Service {PUBLIC_SERVICE} has no address yet; behind a Gateway, name the URL",
        ),
    ],
)
def test_a_service_without_address_fails_the_command(
    tools: FakeTools,
    found: dict[str, Any] | None,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It may take minutes to get one: at the deadline the reason is in the one line of error."""
    tools.update(objects={f"service/{PUBLIC_SERVICE}": found} if found else {})

    assert main(["k8s", "rollout", "smoke", "--deadline", "0"]) == 1

    assert capsys.readouterr().err == f"FAILED: not ready after 0 s: {reason}\n"


def test_a_host_name_is_an_address_too(tools: FakeTools) -> None:
    """Other clouds give load balancers names in place of IP addresses."""
    public = {
        "spec": {"ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}},
    }
    tools.update(objects={f"service/{PUBLIC_SERVICE}": public})

    assert public_url(Kubectl(Shell())) == "http://lb.example:80"
