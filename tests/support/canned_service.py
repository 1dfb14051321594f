"""A prediction service without a model: every answer is the sample of its card."""

import json
import time
from typing import Any

from serve_app.model.card import ModelCard
from tests.support.loopback import LoopbackServer, QuietHandler


class CannedService(LoopbackServer):
    """Answers as the service would.

    Args:
        card: the model's; the attribute of the same name replaces it while the service runs.
        answers_as: predictions are the sample of this card, if they should not be the model's.
        answers: so many predictions are answered on each connection, which is then closed.
    """

    def __init__(
        self, card: ModelCard, *, answers_as: ModelCard | None = None, answers: int | None = None
    ) -> None:
        self.moments: list[float] = []
        """When predictions were asked for, seconds."""
        self.card = card
        service, moments = self, self.moments
        prediction = (answers_as or card).sample.answer

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.answered = 0

            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                shown = service.card.model_dump(mode="json")
                self.answer(json.dumps({"engine": "onnx", **shown}).encode())

            def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
                body = self.rfile.read(int(self.headers["content-length"]))
                moments.append(time.monotonic())
                if self.answered == answers:
                    self.close_connection = True
                    return
                self.answered += 1
                content: dict[str, Any] = {**prediction}
                if self.path.startswith("/predict/batch"):
                    content = {"predictions": [prediction] * len(json.loads(body)["instances"])}
                content["model_version"] = service.card.version
                self.answer(json.dumps(content).encode())

        super().__init__(Handler)
