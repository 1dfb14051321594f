"""What the launcher checks before it starts anything, and what it tells people."""

import json
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.http.schemas import RequestSchema
from serve_app.runtime.launch import load_config, main, require_free_port, sample_body, where
from serve_app.runtime.local_service import LaunchError
from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard
from serve_app.settings import Settings
from tests.support.service import CONFIG


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another socket is bound to."""
    with socket.socket() as owner:
        owner.bind(("", 0))
        yield owner.getsockname()[1]


def write(directory: Path, content: Any) -> Path:
    path = directory / "config.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_the_projects_config_is_the_defaults() -> None:
    """Without arguments the config is taken as it is written."""
    config, settings = load_config(CONFIG, [])
    assert config == yaml.safe_load(CONFIG.read_text())
    assert settings == Settings()


def test_arguments_take_the_place_of_the_configs() -> None:
    """``key=value`` is typed in the settings and handed on to the application."""
    config, settings = load_config(CONFIG, ["max_rows=5", "model_dir=a=b", "engine=sklearn"])
    assert settings == Settings(max_rows=5, model_dir=Path("a=b"), engine="sklearn")
    args = config["applications"][0]["args"]
    assert Settings.model_validate(args) == settings


@pytest.mark.parametrize("application", [{}, {"args": None}])
@pytest.mark.parametrize("options", [{}, {"http_options": None}])
def test_a_config_may_leave_out_what_has_defaults(
    tmp_path: Path, application: dict[str, Any], options: dict[str, Any]
) -> None:
    """Neither arguments nor HTTP options need be written."""
    path = write(tmp_path, {"applications": [application], **options})
    config, settings = load_config(path, ["max_rows=5"])
    assert settings == Settings(max_rows=5)
    assert config["http_options"] == {}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "text",
        "- list",
        {},
        {"applications": None},
        {"applications": []},
        {"applications": [{}, {}]},
        {"applications": ["text"]},
        {"applications": [{"args": 5}]},
        {"applications": [{}], "http_options": 8000},
    ],
)
def test_what_is_no_config_of_one_application_is_refused(tmp_path: Path, content: Any) -> None:
    """The error names the file."""
    path = write(tmp_path, content)
    with pytest.raises(LaunchError, match=r"config\.yaml is not a Serve config with one appl"):
        load_config(path, [])


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(LaunchError, match=r"nowhere\.yaml.*No such file"):
        load_config(tmp_path / "nowhere.yaml", [])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("max_rows", "argument 'max_rows' is not key=value"),
        ("max_rows=0", "argument max_rows='0': .*greater than or equal to 1"),
        ("max_rows=many", "argument max_rows='many': .*valid integer"),
        ("maxrows=5", "argument maxrows='5': .*arguments are model_dir, "),
        ("engine=tensorflow", "argument engine.*'tensorflow'"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(argument: str, message: str) -> None:
    """The error names argument, value and what arguments there are."""
    with pytest.raises(LaunchError, match=message):
        load_config(CONFIG, [argument])


def test_a_taken_port_is_refused(taken_port: int) -> None:
    """The error names the port and the option that chooses another."""
    with pytest.raises(LaunchError, match=f"port {taken_port} cannot be used .* --port"):
        require_free_port(taken_port)


def test_a_free_port_is_accepted_and_stays_free(taken_port: int) -> None:
    """The check itself leaves nothing behind."""
    with socket.socket() as other:
        other.bind(("", 0))
        free = other.getsockname()[1]
    require_free_port(free)
    require_free_port(free)


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    """Numbers that are no port are an error like a taken port."""
    with pytest.raises(LaunchError, match=f"port {port} cannot be used"):
        require_free_port(port)


@pytest.mark.parametrize("problem", ["model", "version", "port", "argument", "config", "ratio"])
def test_nothing_is_started_where_something_is_wrong(
    iris: Path,
    taken_port: int,
    problem: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line on standard error names problem and fix; exit code 2, before Ray is touched."""
    monkeypatch.setattr("serve_app.runtime.launch.LocalService", None)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "often" if problem == "ratio" else "1")
    good = ["--config", str(CONFIG), f"model_dir={iris}"]
    port = 0
    while port in {0, taken_port}:
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
    added, message = {
        "model": (["model_dir=nowhere"], "run `serve-app train`"),
        "version": (["model_version=0123456789ab"], "expected version 0123456789ab"),
        "port": (["--port", str(taken_port)], f"port {taken_port} cannot be used"),
        "argument": (["colour=red"], "argument colour='red'"),
        "config": (["--config", "nowhere.yaml"], "nowhere.yaml"),
        "ratio": ([], "OTEL_TRACES_SAMPLER_ARG='often' is not a ratio"),
    }[problem]
    assert main([*good, "--port", str(port), *added]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_the_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` lists what can be given as key=value."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name in Settings.model_fields:
        assert name in text


@pytest.mark.parametrize("name", ["sepal_length", "rose's petal $HOME"])
def test_the_printed_command_is_a_valid_request(iris: Path, name: str) -> None:
    """A shell makes of the curl line a body that the service accepts, whatever a column's name."""
    card = Artifact.open(iris).card
    text = card.model_dump_json().replace('"sepal_length"', json.dumps(name))
    card = ModelCard.model_validate_json(text)
    printed = where(card, 8123, None)
    (line,) = [line for line in printed.splitlines() if "curl" in line]
    command = shlex.split(line)
    assert command[1] == "http://localhost:8123/predict/"
    assert "content-type: application/json" in command
    body = command[command.index("-d") + 1].encode()
    assert RequestSchema(card, max_rows=1).instance(body).shape == (1, 4)
    assert body.decode() == sample_body(card)
    assert "http://localhost:8123/docs" in printed
    assert "dashboard" not in printed


def test_the_dashboard_is_shown_if_there_is_one(iris: Path) -> None:
    """Its address, and where the token is that it asks for."""
    printed = where(Artifact.open(iris).card, 8000, "http://127.0.0.1:8265")
    assert "http://127.0.0.1:8265" in printed
    assert "token" in printed
