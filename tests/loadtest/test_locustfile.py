"""Locust's clients against a server that closes connections, as a replaced proxy does."""

import csv
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loadtest.history import count_sent_again, read_outcome
from serve_app.artifact import Artifact
from serve_app.card import ModelCard
from tests.support.service import PROJECT


def handler(card: ModelCard, *, close_all: bool) -> type[BaseHTTPRequestHandler]:
    """Closes each connection instead of its third prediction, or of all of them."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.answered = 0

        def do_GET(self) -> None:
            self._answer({"engine": "onnx", **card.model_dump(mode="json")})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            if close_all or self.answered == 2:
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

    return Handler


@pytest.mark.parametrize("close_all", [False, True])
def test_a_closed_connection_is_opened_again_once(
    iris: Path, tmp_path: Path, *, close_all: bool
) -> None:
    """A request that meets a closing connection is sent again, and named; twice is a failure."""
    card = Artifact.open(iris).card
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(card, close_all=close_all))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    prefix = tmp_path / "run"
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"),
                *("--host", f"http://127.0.0.1:{server.server_port}", "--scenario", "open-loop"),
                *("-u", "2", "--user-rate", "5", "-t", "4s", "--csv", str(prefix)),
                *("--model-dir", str(tmp_path)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=PROJECT,
        )
    finally:
        server.shutdown()
        server.server_close()
    outcome = read_outcome(prefix)
    assert count_sent_again(prefix) > 0, done.stderr
    assert outcome.requests > 4
    if not close_all:
        assert (done.returncode, outcome.failures) == (0, 0), done.stderr
        return
    assert done.returncode == 1
    with (tmp_path / "run_failures.csv").open(encoding="utf-8", newline="") as file:
        assert "closed" in next(csv.DictReader(file))["Error"]
