"""What a service on this machine does before Ray runs, and after it answers."""

import threading

import pytest
import ray

from serve_app.runtime import local_service
from serve_app.runtime.local_service import LocalService, Progress
from serve_app.serve_config import ConfigError, ServeConfig
from tests.support.service import CONFIG
from tests.support.waiting import wait_until


@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_a_config_that_serve_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """One line names the field; no process is started, and there is nothing to stop."""
    config = ServeConfig.read(CONFIG).override(http_options={"port": "eighty"})
    service = LocalService(config, host="127.0.0.1", request_seconds=1, progress=Progress())
    with pytest.raises(ConfigError, match=r"serve_config\.yaml: http_options\.port='eighty': "):
        service.start()
    service.stop()
    assert not ray.is_initialized()
    assert capsys.readouterr().out == "[  0.0 s] starting Ray\n"


class Told(Progress):
    """Keeps what is printed elsewhere."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def service(told: Told) -> LocalService:
    """A service that has not started a Ray."""
    config = ServeConfig.read(CONFIG)
    return LocalService(config, host="127.0.0.1", request_seconds=1, progress=told)


def dashboard_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dashboard"]


def test_the_dashboard_is_shown_when_it_answers(
    service: LocalService, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address, and where the token is that it asks for; the thread that started it lives on."""
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/a/token")
    monkeypatch.setattr(local_service, "start_dashboard", lambda: "http://127.0.0.1:8266")
    service.start_dashboard()
    (thread,) = dashboard_threads()
    wait_until(lambda: told.lines)
    assert told.lines == ["dashboard  http://127.0.0.1:8266  (asks for the token in /a/token)"]
    assert thread.is_alive()
    service.stop()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("is_stopping", [False, True])
def test_predictions_go_on_without_a_dashboard(
    service: LocalService, told: Told, monkeypatch: pytest.MonkeyPatch, is_stopping: bool
) -> None:
    """A line says why it does not start, unless the service ends."""

    def fail() -> str:
        raise RuntimeError("no port is free")

    monkeypatch.setattr(local_service, "start_dashboard", fail)
    if is_stopping:
        service.stop()
    service.start_dashboard()
    for thread in dashboard_threads():
        thread.join(60)
    said = [line.partition(";")[0] for line in told.lines]
    assert said == [] if is_stopping else ["the dashboard does not start: no port is free"]
