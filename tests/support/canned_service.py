"""A prediction service without a model: every answer is the sample of its card."""

import json
import time
from collections.abc import Mapping
from typing import Any

from serve_app.model.card import ModelCard
from tests.support.loopback import LoopbackServer, QuietHandler


class CannedService(LoopbackServer):
    """Answers as the service would.

    Args:
        card: the model's.
        answers: so many predictions are answered on each connection, which is then closed.
        changes: fields of each answer that are not the sample's.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        answers: int | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.moments: list[float] = []
        """When predictions were asked for, seconds."""
        moments = self.moments

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.answered = 0

            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                self.answer(json.dumps({"engine": "onnx", **card.model_dump(mode="json")}).encode())

            def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
                self.rfile.read(int(self.headers["content-length"]))
                moments.append(time.monotonic())
                if self.answered == answers:
                    self.close_connection = True
                    return
                self.answered += 1
                answer = {**card.sample.answer, "model_version": card.version, **(changes or {})}
                self.answer(json.dumps(answer).encode())

        super().__init__(Handler)
