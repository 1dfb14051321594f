"""Start, overload, drain and refusal of a real service."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from loadtest.scale.dashboard import Dashboard, find_token
from serve_app.errors import UserError
from serve_app.model.card import ModelCard
from serve_app.model.features import Feature
from serve_app.packaging.package import package_model
from serve_app.ray_internals.haproxy import HAPROXY
from serve_app.ray_internals.nodes import CONTROLLER, RAYLET, REPLICA
from serve_app.runtime.ports import listens
from serve_app.runtime.processes import Command, in_session
from serve_app.serve_config import ServeConfig
from tests.support.iris_requests import PREDICT, ROW
from tests.support.service import (
    CONFIG,
    PORT,
    PORTS,
    PROJECT,
    Service,
    production,
    serve_command,
    write_config,
)
from tests.support.slow_model import SlowClassifier
from tests.support.waiting import wait_until

SECONDS_PER_CALL = 0.2


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model directory of a classifier that takes `SECONDS_PER_CALL` per call."""
    directory = tmp_path_factory.mktemp("slow") / "model"
    model = SlowClassifier(0).fit(np.array([[-1.0], [1.0]]), ["negative", "positive"])
    model.seconds = SECONDS_PER_CALL
    package_model(model, directory, features=[Feature(name="x", minimum=-1, maximum=1)])
    return directory


@asynccontextmanager
async def _client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def service(iris: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The default model in production mode, with the dashboard and with its own draining."""
    directory = tmp_path_factory.mktemp("service")
    with Service(serve_command(iris), directory=directory, environment=PORTS) as running:
        yield running


def test_idle_clients_do_not_notice_that_every_replica_is_replaced(
    service: Service, iris: Path
) -> None:
    """Connections from before a new config, used so far or not: the next request of each is 200.

    Those that were never used are closed after 10 s; a client sees that before it sends.
    """

    def send(client: http.client.HTTPConnection) -> int:
        client.request("POST", PREDICT, json.dumps(ROW), {"content-type": "application/json"})
        answer = client.getresponse()
        answer.read()
        return answer.status

    config = ServeConfig.read(CONFIG).override(args={"model_dir": str(iris), "max_rows": 2})
    # It starts after the first answers.
    wait_until(lambda: "dashboard  http" in service.log())
    (url,) = re.findall(r"dashboard +(\S+)", service.log())
    dashboard = Dashboard(url, config, token=find_token(os.environ))
    with dashboard, ExitStack() as stack:
        host = service.url.removeprefix("http://")
        clients = [http.client.HTTPConnection(host, timeout=20) for _ in range(40)]
        for client in clients:
            stack.callback(client.close)
        assert {send(client) for client in clients[::2]} == {200}
        for client in clients[1::2]:
            client.connect()
        before: set[tuple[str, int]] = set()

        def dashboard_answers() -> bool:
            # Its first answer takes longer than a client waits.
            with contextlib.suppress(UserError):
                before.update(dashboard.deployment().running)
            return bool(before)

        wait_until(dashboard_answers, seconds=60)
        dashboard.deploy(config.document)
        wait_until(lambda: set(dashboard.deployment().running) - before, seconds=60)
        wait_until(lambda: not before & set(dashboard.deployment().running), seconds=60)
        time.sleep(3)  # HAProxy is replaced a moment later
        for client in clients[1::2]:
            if select.select([client.sock], [], [], 0)[0]:
                assert client.sock.recv(1) == b""
                client.close()
        assert {send(client) for client in clients} == {200}


def test_sigterm_answers_what_was_accepted_and_leaves_no_process(service: Service) -> None:
    """SIGTERM to the whole group under load, as of a shell: every accepted request is answered.

    The exit code is 0, no process remains, and Ray says nothing of its own stop.
    """

    async def load() -> Counter[str]:
        outcomes: Counter[str] = Counter()

        async def user(client: httpx.AsyncClient) -> None:
            # Until the service closes; a connection lost without that is a request lost.
            closing = False
            while not closing:
                answer = await client.post(PREDICT, json=ROW)
                outcomes[str(answer.status_code)] += 1
                closing = answer.headers.get("connection") == "close"

        async with _client(service) as client:
            users = [asyncio.create_task(user(client)) for _ in range(16)]
            await asyncio.sleep(2)
            os.killpg(service.pid, signal.SIGTERM)
            await asyncio.gather(*users)
        return outcomes

    session = _session(service)
    assert in_session(session)
    outcomes = asyncio.run(load())
    wait_until(lambda: service.exit_code is not None, seconds=60)
    assert service.exit_code == 0, service.log()
    assert not in_session(session)
    assert outcomes.keys() == {"200"}, outcomes
    assert "retries remaining" not in service.log()


def _session(service: Service) -> int:
    """The session of everything that Ray has started for a service."""
    (raylet,) = (process.pid for process in service.tree() if process.name() == RAYLET)
    return os.getsid(raylet)


@pytest.fixture(scope="module")
def own_model(iris: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the default model that a test may spoil."""
    return shutil.copytree(iris, tmp_path_factory.mktemp("own") / "model")


@pytest.fixture(scope="module")
def broken(own_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that loses one part after the other."""
    with production(own_model, tmp_path_factory.mktemp("broken")) as running:
        # It answers a moment before the launcher watches its parts.
        wait_until(lambda: "Ctrl-C drains and stops" in running.log())
        yield running


def test_nothing_listens_on_other_interfaces(broken: Service) -> None:
    """Ray, Serve and HAProxy: their ports are for this machine only."""
    titles = {process.pid: process.name() for process in broken.tree()}
    open_to_all = {
        (titles[connection.pid], *connection.laddr)
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.pid in titles
        and not {"127.0.0.1", "::ffff:127.0.0.1"} & set(connection.laddr)
    }
    assert not open_to_all


def test_a_second_service_is_told_who_has_the_port(broken: Service, iris: Path) -> None:
    """One line names HAProxy and its process; nothing is started."""
    refused = subprocess.run(
        serve_command(iris), capture_output=True, text=True, check=False, timeout=60
    )
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    proxies = [process.pid for process in broken.tree() if process.name() == HAPROXY]
    assert any(f"port {PORT} is in use by haproxy (pid {pid}); stop it" in line for pid in proxies)


def test_a_controller_that_ends_is_named_and_comes_back(broken: Service) -> None:
    """Ray starts another one, and the launcher says when the service is whole again."""
    _kill(broken, CONTROLLER)
    wait_until(lambda: "Serve's controller has ended (pid " in broken.log(), seconds=5)
    wait_until(lambda: "Serve's controller is back after " in broken.log(), seconds=60)
    answer = httpx.post(f"{broken.url}{PREDICT}", json=ROW, timeout=20)
    assert answer.status_code == 200


def test_a_model_that_is_replaced_is_refused(
    broken: Service, own_model: Path, card: ModelCard
) -> None:
    """A replica serves the version that the service was started with, or none; one line says so."""
    path = own_model / "card.json"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace(card.version, "0" * len(card.version)), encoding="utf-8")
    _kill(broken, REPLICA)
    refused = f"application is UNHEALTHY: model refused: {path}: expected version {card.version}"
    wait_until(lambda: refused in broken.log(), seconds=60)
    path.write_text(before, encoding="utf-8")
    wait_until(lambda: "the application is RUNNING again" in broken.log(), seconds=60)


def test_a_service_without_its_raylet_ends(broken: Service) -> None:
    """Within seconds, with its name and exit code 1; nothing is left, and the port is free."""
    session = _session(broken)
    _kill(broken, RAYLET)
    wait_until(lambda: broken.exit_code is not None, seconds=20)
    assert broken.exit_code == 1
    assert broken.log().splitlines()[-1].startswith("FAILED: the raylet has ended (pid ")
    assert not in_session(session)
    assert not listens(PORT)


def _kill(service: Service, title: str) -> None:
    found = [process for process in service.tree() if process.name().startswith(title)]
    assert found
    for process in found:
        process.kill()


def test_a_launcher_that_is_killed_leaves_nothing(iris: Path, tmp_path: Path) -> None:
    """SIGKILL: the port is free at once, accepted requests are answered, all processes end."""
    with production(iris, tmp_path) as service:
        session = _session(service)
        service.terminate(signal.SIGKILL)
        wait_until(lambda: not listens(PORT), seconds=5)
        wait_until(lambda: not in_session(session), seconds=40)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_can_be_stopped(iris: Path, tmp_path: Path, number: signal.Signals) -> None:
    """A signal while Ray starts ends the launcher within seconds; nothing is left."""
    command = serve_command(iris, "--no-dashboard")
    log = tmp_path / "log"
    with Command(command, log=log, environment=PORTS, stop_seconds=60) as service:
        wait_until(lambda: any(each.name() == RAYLET for each in service.tree()), seconds=60)
        (leader,) = psutil.Process(service.pid).children()
        os.kill(service.pid, number)
        wait_until(lambda: service.exit_code is not None, seconds=10)
        assert service.exit_code == 0
        assert service.log().endswith("stopped before it was ready\n")
        assert not in_session(leader.pid)


def test_overload_is_answered_at_once_and_the_rest_is_served(
    slow_model: Path, tmp_path: Path
) -> None:
    """More requests than may wait: some get 429 with Retry-After, all others 200, none 5xx."""

    async def burst(service: Service, size: int) -> list[httpx.Response]:
        async with _client(service) as client:
            requests = (client.post(PREDICT, json={"x": 0.5}) for _ in range(size))
            return await asyncio.gather(*requests)

    config = write_config(
        tmp_path,
        deployment={"max_ongoing_requests": 5, "max_queued_requests": 10},
        autoscaling={"max_replicas": 1},
    )
    environment = {"PYTHONPATH": str(PROJECT)}  # the model is a class of the tests
    with production(slow_model, tmp_path, f"--config={config}", environment=environment) as service:
        answers = asyncio.run(burst(service, 200))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}, statuses
    assert all(a.headers["retry-after"] for a in answers if a.status_code == 429)
