"""What is deployed, and what is shown once the service is ready."""

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import UserError
from serve_app.model.card import ModelCard
from serve_app.protocols.schemas import RequestSchema
from serve_app.ray_internals.haproxy import HAPROXY_MAXCONN_VARIABLE
from serve_app.runtime import launch as launching
from serve_app.runtime.launch import ALL_INTERFACES, Launch, addresses, launch
from serve_app.runtime.ports import FIXED_PORTS, LOOPBACK, PortError, free_port
from serve_app.runtime.request_limits import request_limits
from serve_app.serve_config import ServeConfig
from tests.support.service import CONFIG

MODEL = Path("model")
"""Where the load test looks by itself."""


def service(port: int, model_dir: Path = MODEL) -> ServeConfig:
    """What is served on ``port``."""
    return ServeConfig.read(CONFIG).at(LOOPBACK, port).override(args={"model_dir": model_dir})


@pytest.mark.parametrize("host", [LOOPBACK, ALL_INTERFACES])
def test_the_service_is_what_was_checked(
    iris: Path, card: ModelCard, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """The model's version is pinned, and address and port are those of the command line."""
    deployed: list[ServeConfig] = []
    monkeypatch.setattr(os, "environ", {**os.environ})
    monkeypatch.setattr(launching, "LocalService", lambda config, **_: deployed.append(config))
    monkeypatch.setattr(launching, "supervise", lambda *_, **__: None)
    port, grpc_port = free_port(), free_port()
    asked = ServeConfig.read(CONFIG, [f"model_dir={iris}"])
    launch(Launch(asked, host=host, port=port, grpc_port=grpc_port))
    (config,) = deployed
    assert config.grpc_port == grpc_port
    assert config.settings.model_version == card.version
    options: dict[str, Any] = config.document["http_options"]
    assert (options["host"], options["port"]) == (LOOPBACK, port)
    assert os.environ["SERVE_APP_HOST"] == host
    assert options["keep_alive_timeout_s"] == 620
    assert FIXED_PORTS.keys() <= os.environ.keys()
    assert os.environ.items() >= request_limits(config).items()
    assert request_limits(config)


def test_http_and_grpc_have_ports_of_their_own(iris: Path) -> None:
    """HAProxy would say so, at the end of a start."""
    config, port = ServeConfig.read(CONFIG, [f"model_dir={iris}"]), free_port()
    with pytest.raises(PortError, match=rf"port {port} is that of HTTP, too; .* --grpc-port"):
        launch(Launch(config, port=port, grpc_port=port))


def test_haproxys_files_are_removed_at_the_end(iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in a directory of the owner alone; the launcher's child does not remove it."""
    directories: list[Path] = []

    def end(*_arguments: object, **_options: object) -> None:
        directory = Path(os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])
        directories.append(directory)
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "node").mkdir()

    environment = {**os.environ}
    monkeypatch.setattr(os, "environ", {**environment})
    monkeypatch.setattr(launching, "LocalService", lambda _config, **_: None)
    monkeypatch.setattr(launching, "supervise", end)
    config = ServeConfig.read(CONFIG, [f"model_dir={iris}"])
    plan = Launch(config, port=free_port(), grpc_port=free_port())
    launch(plan)
    (directory,) = directories
    assert not directory.exists()

    def end_in_another_process(*_arguments: object, **_options: object) -> None:
        end()
        monkeypatch.setattr(os, "getppid", os.getpid)

    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(launching, "supervise", end_in_another_process)
    launch(plan)
    assert directories[1].exists()
    shutil.rmtree(directories[1])


def test_a_number_of_connections_that_is_none_is_refused(
    iris: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would end with a traceback."""
    monkeypatch.setattr(os, "environ", {**os.environ, HAPROXY_MAXCONN_VARIABLE: "many"})
    config = ServeConfig.read(CONFIG, [f"model_dir={iris}"])
    plan = Launch(config, port=free_port(), grpc_port=free_port())
    with pytest.raises(UserError, match=f"{HAPROXY_MAXCONN_VARIABLE}='many' is not a number"):
        launch(plan)


@pytest.mark.parametrize(
    ("host", "base"),
    [
        (LOOPBACK, "http://localhost:80"),
        (ALL_INTERFACES, "http://localhost:80"),
        ("10.0.0.7", "http://10.0.0.7:80"),
    ],
)
def test_the_printed_address_is_one_that_answers(card: ModelCard, host: str, base: str) -> None:
    """All interfaces include this machine's own; another address is the only one."""
    assert f"{base}/predict/" in addresses(card, service(80), host)


@pytest.mark.parametrize("name", ["sepal_length", "rose's petal $HOME"])
def test_the_printed_command_is_a_valid_request(card: ModelCard, name: str) -> None:
    """A shell makes of the curl line a body that the service accepts, for any column name."""
    text = card.model_dump_json().replace('"sepal_length"', json.dumps(name))
    card = ModelCard.model_validate_json(text)
    printed = addresses(card, service(8123), LOOPBACK)
    (line,) = [line for line in printed.splitlines() if "curl" in line]
    command = shlex.split(line)
    assert command[1] == "http://localhost:8123/predict/"
    assert "content-type: application/json" in command
    body = command[command.index("-d") + 1].encode()
    assert RequestSchema(card, max_rows=1).instance(body).shape == (1, 4)
    assert json.loads(body) == card.example
    assert "http://localhost:8123/docs" in printed
    assert "dashboard" not in printed


@pytest.mark.parametrize(
    ("model_dir", "end"),
    [(MODEL, "8000"), (Path("my shop"), "8000 --model-dir 'my shop'")],
)
def test_the_printed_load_checks_every_answer(card: ModelCard, model_dir: Path, end: str) -> None:
    """The load test is told of a model that is not where it would look."""
    printed = addresses(card, service(8000, model_dir), LOOPBACK)
    (line,) = [line for line in printed.splitlines() if "serve-app load" in line]
    assert line.endswith(f"serve-app load --host http://localhost:{end}")


def test_grpc_is_shown_if_there_is_any(card: ModelCard) -> None:
    """A second service has another port for it, as it has for HTTP."""
    assert "localhost:9001" in addresses(card, service(8001), LOOPBACK)
    without = service(8001).override(grpc_options={"grpc_servicer_functions": None})
    assert "gRPC" not in addresses(card, without, LOOPBACK)
