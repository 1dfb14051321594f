"""``serve-app serve`` starts nothing where something is wrong."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.cli.main import main
from serve_app.runtime import launch
from serve_app.runtime.ports import free_port
from tests.support.command_lines import refused
from tests.support.service import CONFIG


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.create_server(("", 0)) as owner:
        yield owner.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model_dir=nowhere"], "run `serve-app train`"),
        (["model_version=0123456789ab"], "expected version 0123456789ab"),
        (["--port", "{taken_port}"], "port {taken_port} is in use by "),
        (["--grpc-port", "{taken_port}"], "choose another port for gRPC with --grpc-port"),
        (["--host", "192.0.2.1"], "192.0.2.1 is no address of this machine"),
        (["--host", "::1"], "'::1' is no IPv4 address"),
        (["--host", ""], "'' is no IPv4 address"),
        (["colour=red"], "argument colour='red': "),
        (["max_rows"], "argument 'max_rows' is not key=value"),
        (["--config", "nowhere.yaml"], "nowhere.yaml is not a Serve config"),
        ([], "OTEL_TRACES_SAMPLER_ARG='often' is not a ratio"),
    ],
)
def test_what_is_wrong_is_one_line(
    iris: Path,
    taken_port: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    arguments: list[str],
    message: str,
) -> None:
    """Model, port, arguments, config and environment are checked before Ray is touched."""
    monkeypatch.setattr(launch, "LocalService", None)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1" if arguments else "often")
    ports = ["--port", str(free_port()), "--grpc-port", str(free_port())]
    command = ["serve", "--config", str(CONFIG), f"model_dir={iris}", *ports]
    added = [argument.format(taken_port=taken_port) for argument in arguments]
    line = refused(main, [*command, *added], capsys)
    assert line.startswith("error: ")
    assert message.format(taken_port=taken_port) in line
