"""A prediction service without a model: every answer is the sample of its card."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from serve_app.model.card import ModelCard


class CannedService:
    """Serves on a free port of the loopback.

    Args:
        card: the model's.
        answers: so many predictions are answered on each connection, which is then closed.
    """

    def __init__(self, card: ModelCard, *, answers: int | None = None) -> None:
        self.moments: list[float] = []
        """When predictions were asked for, seconds."""
        moments = self.moments

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.answered = 0

            def do_GET(self) -> None:
                self._answer({"engine": "onnx", **card.model_dump(mode="json")})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                moments.append(time.monotonic())
                if self.answered == answers:
                    self.close_connection = True
                    return
                self.answered += 1
                label = card.sample.predicted_class
                probabilities = {str(name): float(name == label) for name in card.classes}
                self._answer(
                    {
                        "predicted_class": label,
                        "probabilities": probabilities,
                        "model_version": card.version,
                    }
                )

            def _answer(self, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
