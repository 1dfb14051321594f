"""Start, overload, drain and refusal of a real service."""

import asyncio
import http.client
import json
import os
import re
import shutil
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
from serve_app.model.features import Feature
from serve_app.packaging.package import package_model
from serve_app.runtime.processes import Command
from serve_app.serve_config import ServeConfig
from tests.support.iris_requests import PREDICT, ROW
from tests.support.raw_http import status_of, unfinished
from tests.support.service import (
    CONFIG,
    PROJECT,
    SERVE,
    Service,
    development,
    production,
    write_config,
)
from tests.support.slow_model import SlowClassifier
from tests.support.waiting import wait_until

SECONDS_PER_CALL = 0.2
IMPORT_PATH = ("serve", "run", "serve_app.deployment:build_app")


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
    command = [*SERVE, "--config", str(CONFIG), f"model_dir={iris}"]
    with Service(command, directory=tmp_path_factory.mktemp("service")) as running:
        yield running


def test_idle_clients_do_not_notice_that_every_replica_is_replaced(
    service: Service, iris: Path
) -> None:
    """Connections from before a new config, used so far or not: the next request of each is 200."""

    def send(client: http.client.HTTPConnection) -> int:
        client.request("POST", PREDICT, json.dumps(ROW), {"content-type": "application/json"})
        answer = client.getresponse()
        answer.read()
        return answer.status

    config = ServeConfig.read(CONFIG).override(args={"model_dir": str(iris), "max_rows": 2})
    (url,) = re.findall(r"dashboard +(\S+)", service.log())
    dashboard = Dashboard(
        url,
        token=find_token(os.environ),
        application=config.application_name,
        deployment=config.deployment_name,
    )
    with dashboard, ExitStack() as stack:
        host = service.url.removeprefix("http://")
        clients = [http.client.HTTPConnection(host, timeout=20) for _ in range(40)]
        for client in clients:
            stack.callback(client.close)
        assert {send(client) for client in clients[::2]} == {200}
        for client in clients[1::2]:
            client.connect()
        before = set(dashboard.deployment().running)
        dashboard.deploy(config.document)
        wait_until(lambda: set(dashboard.deployment().running) - before, seconds=60)
        wait_until(lambda: not before & set(dashboard.deployment().running), seconds=60)
        time.sleep(3)  # HAProxy is replaced a moment later
        assert {send(client) for client in clients} == {200}


def test_sigterm_answers_what_was_accepted_and_leaves_no_process(service: Service) -> None:
    """SIGTERM under load: accepted requests are answered, exit code 0, no process remains."""

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
            service.terminate()
            await asyncio.gather(*users)
        return outcomes

    before = _ray_processes()
    outcomes = asyncio.run(load())
    wait_until(lambda: service.exit_code is not None, seconds=60)
    assert service.exit_code == 0, service.log()
    assert before
    assert not _ray_processes()
    assert outcomes.keys() == {"200"}, outcomes


def _ray_processes() -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "ray::" in line or "raylet" in line or "haproxy" in line:
            found.append(line)
    return found


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


def test_development_mode_serves_and_times_out(iris: Path, tmp_path: Path) -> None:
    """Plain serve run of the config predicts; a body that never ends is answered 408."""
    with development(iris, tmp_path) as service:
        answer = httpx.post(f"{service.url}{PREDICT}", json=ROW, timeout=20)
        assert answer.json()["predicted_class"] == "setosa"
        assert status_of(service.url, unfinished()) == 408


def test_arguments_of_serve_run_are_typed(iris: Path, tmp_path: Path) -> None:
    """Serve run import:path key=value serves with those settings."""
    arguments = [f"model_dir={iris}", "max_rows=2", "engine=sklearn"]
    with Service([*IMPORT_PATH, *arguments], directory=tmp_path) as service:
        assert httpx.get(f"{service.url}/model", timeout=20).json()["engine"] == "sklearn"
        rows = {"instances": [ROW] * 3}
        answer = httpx.post(f"{service.url}/predict/batch/", json=rows, timeout=20)
    assert answer.status_code == 422
    assert "at most 2 items" in answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize("command", [IMPORT_PATH, SERVE])
def test_a_missing_model_is_one_clear_line(command: tuple[str, ...], tmp_path: Path) -> None:
    """Without a model both commands end with one line that says which command makes it."""
    shutil.copy(CONFIG, tmp_path)
    refused = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    (line,) = [line for line in refused.stderr.splitlines() if "INFO" not in line]
    assert refused.returncode != 0
    assert str(tmp_path / "model" / "card.json") in line
    assert "serve-app train" in line


def test_a_missing_model_fails_the_deployment_of_a_config(tmp_path: Path) -> None:
    """Serve run of a config whose model is missing says which command makes it."""
    config = write_config(tmp_path, args={"model_dir": str(tmp_path / "nowhere")})
    with Command(["serve", "run", str(config)], log=tmp_path / "log", stop_seconds=60) as command:
        command.wait_until(lambda: "run `serve-app train`" in command.log(), seconds=60)
