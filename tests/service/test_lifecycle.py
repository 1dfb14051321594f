"""Start, overload, drain and refusal of a real service."""

import asyncio
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import yaml

from loadtest.scale.dashboard import Dashboard, find_token
from loadtest.scale.ray_answers import Application
from serve_app.model.features import Feature
from serve_app.packaging.package import package_model
from tests.support.cloud_trace import wait_until
from tests.support.raw_http import status_of, unfinished
from tests.support.service import CONFIG, PROJECT, Service, development, production
from tests.support.slow_model import SlowClassifier

ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
SECONDS_PER_CALL = 0.2
IMPORT_PATH = ["serve", "run", "serve_app.deployment:build_app"]


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


def test_overload_is_answered_at_once_and_the_rest_is_served(
    slow_model: Path, tmp_path: Path
) -> None:
    """More requests than may wait: some get 429 with Retry-After, all others 200, none 5xx."""

    async def burst(service: Service, size: int) -> list[httpx.Response]:
        async with _client(service) as client:
            requests = (client.post("/predict/", json={"x": 0.5}) for _ in range(size))
            return await asyncio.gather(*requests)

    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    deployment = config["applications"][0]["deployments"][0]
    deployment.update(max_ongoing_requests=5, max_queued_requests=10)
    deployment["autoscaling_config"]["max_replicas"] = 1
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with production(
        slow_model, tmp_path, "--config=config.yaml", environment={"PYTHONPATH": str(PROJECT)}
    ) as service:
        answers = asyncio.run(burst(service, 200))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}, statuses
    assert all(a.headers["retry-after"] for a in answers if a.status_code == 429)


def test_sigterm_answers_what_was_accepted_and_leaves_no_process(
    iris: Path, tmp_path: Path
) -> None:
    """SIGTERM under load: accepted requests are answered, exit code 0, no process remains."""

    async def load(service: Service) -> Counter[str]:
        outcomes: Counter[str] = Counter()

        async def user(client: httpx.AsyncClient) -> None:
            # Until the service says goodbye; a connection lost without that is a request lost.
            closing = False
            while not closing:
                answer = await client.post("/predict/", json=ROW)
                outcomes[str(answer.status_code)] += 1
                closing = answer.headers.get("connection") == "close"

        async with _client(service) as client:
            users = [asyncio.create_task(user(client)) for _ in range(16)]
            await asyncio.sleep(2)
            service.terminate()
            await asyncio.gather(*users)
        return outcomes

    with production(iris, tmp_path) as service:
        before = _ray_processes()
        outcomes = asyncio.run(load(service))
        assert service.stop() == 0, service.log
    assert before
    assert not _ray_processes()
    assert outcomes.keys() == {"200"}, outcomes


def test_idle_clients_do_not_notice_that_every_replica_is_replaced(
    iris: Path, tmp_path: Path
) -> None:
    """Connections from before a new config, used so far or not: the next request of each is 200."""

    def send(client: http.client.HTTPConnection) -> int:
        client.request("POST", "/predict/", json.dumps(ROW), {"content-type": "application/json"})
        answer = client.getresponse()
        answer.read()
        return answer.status

    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    (application,) = config["applications"]
    application["args"] = {"model_dir": str(iris), "max_rows": 2}
    watched = Application(application["name"], application["deployments"][0]["name"])
    command = [sys.executable, "-m", "serve_app", "--config", str(CONFIG), f"model_dir={iris}"]
    with Service(command, directory=tmp_path) as service, ExitStack() as stack:
        host = service.url.removeprefix("http://")
        clients = [http.client.HTTPConnection(host, timeout=20) for _ in range(40)]
        for client in clients:
            stack.callback(client.close)
        assert {send(client) for client in clients[::2]} == {200}
        for client in clients[1::2]:
            client.connect()
        (url,) = re.findall(r"dashboard +(\S+)", service.log)
        with Dashboard(url, token=find_token(os.environ), watched=watched) as dashboard:
            before = set(dashboard.replicas().running)
            dashboard.deploy(config)
            wait_until(lambda: set(dashboard.replicas().running) - before, seconds=60)
            wait_until(lambda: not before & set(dashboard.replicas().running), seconds=60)
        time.sleep(3)  # the ingress is replaced a moment later
        assert {send(client) for client in clients} == {200}


def _ray_processes() -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "ray::" in line or "raylet" in line or "haproxy" in line:
            found.append(line)
    return found


def test_development_mode_serves_and_times_out(iris: Path, tmp_path: Path) -> None:
    """Plain serve run of the config predicts; a body that never ends is answered 408."""
    with development(iris, tmp_path) as service:
        answer = httpx.post(f"{service.url}/predict/", json=ROW, timeout=20)
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


@pytest.mark.parametrize("command", [IMPORT_PATH, [sys.executable, "-m", "serve_app"]])
def test_a_missing_model_is_one_clear_line(command: list[str], tmp_path: Path) -> None:
    """Without a model both commands end with one line that says which command makes it."""
    shutil.copy(CONFIG, tmp_path)
    refused = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    lines = [line for line in refused.stderr.splitlines() if "INFO" not in line]
    assert refused.returncode != 0
    assert len(lines) == 1, refused.stderr
    assert str(tmp_path / "model" / "card.json") in lines[0]
    assert "serve-app train" in lines[0]


def test_a_missing_model_fails_the_deployment_of_a_config(tmp_path: Path) -> None:
    """Serve run of a config whose model is missing says which command makes it."""
    service = development(tmp_path / "nowhere", tmp_path)
    with pytest.raises(AssertionError, match=r"run `python -m serve_app\.train`"):
        service.start(seconds=25)
