"""What Ray starts as HAProxy: it becomes HAProxy, and HAProxy's end is no end of the service."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serve_app.errors import UserError
from serve_app.ray_internals.haproxy import HAPROXY
from serve_app.ray_internals.nodes import RAYLET
from serve_app.runtime.haproxy import proxies_of, soft_stop
from serve_app.runtime.haproxy_admin import pid_at
from serve_app.runtime.haproxy_watchdog import STAND_IN_SOCKET
from serve_app.runtime.ingress import (
    OPERATIONS_HOST_VARIABLE,
    PER_CLIENT_VARIABLE,
    find_haproxy,
    limits,
)
from tests.runtime.haproxy_manager import (
    PROGRAM,
    Manager,
    answers,
    clients,
    proxies,
    warnings,
    watchdogs,
)
from tests.support.loopback import LoopbackServer, QuietHandler
from tests.support.ray_haproxy import RayConfig, write_state
from tests.support.waiting import wait_until

NODE = """\
import pathlib, signal, subprocess, sys
pathlib.Path("/proc/self/comm").write_text(sys.argv[1])
subprocess.Popen(sys.argv[2:])
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def config() -> Iterator[RayConfig]:
    """Ray's config; what it starts has ended afterwards."""
    # Not in tmp_path: HAProxy takes socket paths of up to 97 characters, and those of pytest's
    # workers are longer. The name is the node's: tests that run at the same time must not stop
    # each other's.
    with tempfile.TemporaryDirectory(
        prefix="node-", dir="/tmp", ignore_cleanup_errors=True
    ) as node:
        yield RayConfig(Path(node))
        # Again and again: a watchdog may have started a stand-in before it was killed.
        while left := proxies_of(Path(node).name):
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=1)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "manager.log"


@pytest.fixture
def manager(config: RayConfig, log: Path) -> Iterator[Manager]:
    with Manager(config, log) as manager:
        yield manager


@pytest.fixture
def successor(config: RayConfig, log: Path) -> Iterator[Manager]:
    """The manager that Ray starts after another one."""
    with Manager(config, log) as manager:
        yield manager


@pytest.fixture
def replica() -> Iterator[str]:
    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536

        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            self.answer(b"answered")

    with LoopbackServer(Handler) as server:
        yield server.address


def test_it_becomes_haproxy_with_limits(manager: Manager, config: RayConfig, replica: str) -> None:
    """Ray finds its own process id, only the owner has the admin socket, Ray's config is kept."""
    original = config.write([replica])
    pid = manager.start()
    assert psutil.Process(pid).name() == HAPROXY
    assert answers(config.port)
    assert "timeout http-request" in config.path.read_text(encoding="utf-8")
    assert config.path.with_suffix(".ray").read_text(encoding="utf-8") == original
    assert config.admin_socket.stat().st_mode & 0o777 == 0o600
    assert config.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("reason", ["maxconn", "'many' is not a number", "HAProxy refuses"])
def test_what_cannot_be_edited_runs_as_it_is(
    reason: str,
    config: RayConfig,
    replica: str,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new template, a wrong variable, a refused edit: the service runs, and its log says why."""
    text = config.write([replica])
    if reason == "maxconn":
        text = text.replace("maxconn 4096", "maxconn 4096 # as before")
        config.path.write_text(text, encoding="utf-8")
    elif reason == "HAProxy refuses":
        monkeypatch.setenv(OPERATIONS_HOST_VARIABLE, "no.such.host.invalid")
    else:
        monkeypatch.setenv(PER_CLIENT_VARIABLE, "many")
    with Manager(config, log) as manager:
        manager.start()
        assert answers(config.port)
    assert config.path.read_text(encoding="utf-8") == text
    (warning,) = warnings(log)
    assert "without limits on clients" in warning
    assert reason in warning


def test_a_stand_in_serves_when_haproxy_has_died(
    manager: Manager, successor: Manager, config: RayConfig, replica: str, log: Path
) -> None:
    """At once, and until a HAProxy with routes takes over: then no request fails."""
    config.write([replica])
    first = manager.start()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: answers(config.port))
    assert pid_at(config.admin_socket) is None  # so Ray notices
    assert "stand-in" in warnings(log)[0]
    with clients(config.port) as outcomes:
        _write_without_routes(config)
        waiting = successor.start()
        config.write([replica])
        second = successor.start()
        wait_until(lambda: proxies(config) == {second})
    assert outcomes.keys() == {"200"}, outcomes
    assert waiting != second
    assert len(watchdogs(config)) == 1


def _write_without_routes(config: RayConfig) -> None:
    """What a new manager writes before Serve has told it the routes."""
    fresh = RayConfig(config.path.parent)
    text = fresh.write()
    for old, new in (
        (fresh.port, config.port),
        (fresh.metrics_port, config.metrics_port),
        (fresh.stats_port, config.stats_port),
    ):
        text = text.replace(f":{old}", f":{new}")
    config.path.write_text(text, encoding="utf-8")


def test_the_haproxy_of_a_dead_manager_serves_until_another_has_routes(
    manager: Manager, successor: Manager, config: RayConfig, replica: str
) -> None:
    """Ray's own would find its port in use, or answer 404."""
    config.write([replica])
    orphan = manager.start()
    manager.kill()
    with clients(config.port) as outcomes:
        _write_without_routes(config)
        successor.start()
        assert orphan in proxies(config)
        config.write([replica])
        second = successor.start()
        wait_until(lambda: proxies(config) == {second})
        wait_until(lambda: len(watchdogs(config)) == 1)
    assert outcomes.keys() == {"200"}, outcomes


def test_a_proxy_that_was_replaced_or_drained_is_not_started_again(
    manager: Manager, config: RayConfig, replica: str
) -> None:
    """Ray means it to end."""
    config.write([replica])
    first = manager.start()
    second = manager.start()
    wait_until(lambda: first not in proxies(config))
    wait_until(lambda: len(watchdogs(config)) == 1)
    config.write([replica], draining=True)
    third = manager.start()
    wait_until(lambda: proxies(config) == {third})
    wait_until(lambda: not watchdogs(config))
    os.kill(third, signal.SIGKILL)
    wait_until(lambda: not proxies_of(config.path.parent.name))
    assert not answers(config.port)
    assert second not in proxies(config)


def test_a_soft_stop_ends_the_watchdog_first(
    manager: Manager, config: RayConfig, replica: str
) -> None:
    """Nothing starts again what is stopped on purpose, a stand-in included."""
    config.write([replica])
    os.kill(manager.start(), signal.SIGKILL)
    wait_until(lambda: answers(config.port))
    node = config.path.parent.name
    assert soft_stop(lambda: proxies_of(node), timeout=10)
    assert proxies_of(node) == []


def test_haproxy_ends_with_its_node(config: RayConfig, replica: str) -> None:
    """Without the node there is no replica; the port must be free for another service."""
    config.write([replica])
    command = [sys.executable, "-c", NODE, RAYLET, *PROGRAM, "-db", "-f", str(config.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as node:
        try:
            wait_until(lambda: answers(config.port))
            wait_until(lambda: watchdogs(config))
            (proxy,) = proxies(config)
        finally:
            # It waits for ever, and so would the end of this block.
            node.kill()
    wait_until(lambda: proxy not in proxies(config))
    wait_until(lambda: not watchdogs(config))


def test_a_proxy_that_never_started_has_no_stand_in(
    config: RayConfig, replica: str, manager: Manager
) -> None:
    """It would fail, too: here another program has the port."""
    text = config.write([replica])
    with LoopbackServer(QuietHandler) as other:
        port = other.address.rpartition(":")[2]
        config.path.write_text(text.replace(f":{config.port}\n", f":{port}\n"), encoding="utf-8")
        command = [*PROGRAM, "-db", "-dR", "-f", str(config.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    wait_until(lambda: not proxies_of(config.path.parent.name))
    assert not config.path.with_name(STAND_IN_SOCKET).exists()


def test_limits_follow_from_the_config_the_machine_and_the_environment(config: RayConfig) -> None:
    """No more connections than descriptors; a share of them for each client unless it is given."""
    text = write_state(config, "ready")
    found = limits(text, {})
    assert found.connections == 4096
    assert found.per_client == 3072
    assert found.operations_host == ""
    given = {PER_CLIENT_VARIABLE: "0", OPERATIONS_HOST_VARIABLE: "127.0.0.1"}
    assert (limits(text, given).per_client, limits(text, given).operations_host) == (
        0,
        "127.0.0.1",
    )
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    greedy = re.sub("maxconn 4096", f"maxconn {files * 2}", text)
    assert limits(greedy, {}).connections < files / 2
    with pytest.raises(UserError, match=f"{PER_CLIENT_VARIABLE}='-1' is not a number"):
        limits(text, {PER_CLIENT_VARIABLE: "-1"})


def test_the_real_haproxy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the program itself, which Ray's own variable names."""
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", sys.executable)
    assert Path(find_haproxy()).name == HAPROXY
