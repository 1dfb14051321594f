"""Plain ``serve run``, the development mode, and what a user is told who has no model yet."""

import shutil
import subprocess
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serve_app.runtime.processes import Command
from tests.support.grpc_service import SETOSA, GrpcClient
from tests.support.iris_requests import PREDICT, ROW
from tests.support.raw_http import status_of, unfinished
from tests.support.service import CONFIG, PORTS, PROGRAM, Service, development, write_config

IMPORT_PATH = ("serve", "run", "serve_app.deployment:build_app")


def test_development_mode_serves_and_times_out(iris: Path, tmp_path: Path) -> None:
    """Plain serve run predicts, over gRPC too, and says so; an endless body is answered 408."""
    with development(iris, tmp_path) as service:
        answer = httpx.post(f"{service.url}{PREDICT}", json=ROW, timeout=20)
        assert answer.json()["predicted_class"] == "setosa"
        assert status_of(service.url, unfinished()) == 408
        with GrpcClient(service.grpc_address) as client:
            found = client.infer([SETOSA], as_raw=False)
            assert list(found.message.outputs[0].contents.bytes_contents) == [b"setosa"]
            bad = client("ModelInfer", b"\xff")
            assert bad.code is grpc.StatusCode.INVALID_ARGUMENT
            health = health_pb2_grpc.HealthStub(client.channel)
            told = health.Check(health_pb2.HealthCheckRequest(), timeout=20)
            assert told.status == health_pb2.HealthCheckResponse.SERVING


def test_arguments_of_serve_run_are_typed(usual_port: int, iris: Path, tmp_path: Path) -> None:
    """Serve run import:path key=value serves with those settings."""
    arguments = [f"model_dir={iris}", "max_rows=2", "engine=sklearn"]
    command = [*IMPORT_PATH, *arguments]
    with Service(command, directory=tmp_path, port=usual_port, environment=PORTS) as service:
        assert httpx.get(f"{service.url}/model", timeout=20).json()["engine"] == "sklearn"
        rows = {"instances": [ROW] * 3}
        answer = httpx.post(f"{service.url}/predict/batch/", json=rows, timeout=20)
    assert answer.status_code == 422
    assert "at most 2 items" in answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize("command", [IMPORT_PATH, (*PROGRAM, "serve")])
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
    with Command(
        ["serve", "run", str(config)], log=tmp_path / "log", environment=PORTS, stop_seconds=60
    ) as command:
        command.wait_until(lambda: "run `serve-app train`" in command.log(), seconds=60)
