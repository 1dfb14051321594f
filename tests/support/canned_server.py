"""An HTTP server with fixed answers, for clients under test."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

Answers = Mapping[str, tuple[int, Any]]
"""Path, without its query, to status and content; text stays text, all else becomes JSON."""


class CannedServer:
    """Answers GET on a free port of the loopback; 404 where it has no answer, 401 untold."""

    def __init__(self, answers: Answers, *, token: str | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, content = answers.get(urlsplit(self.path).path, (404, "no such path"))
                if token is not None and self.headers["authorization"] != f"Bearer {token}":
                    status, content = 401, "Unauthorized"
                body = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
