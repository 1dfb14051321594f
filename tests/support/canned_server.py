"""An HTTP server with fixed answers, for clients under test."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tests.support.loopback import LoopbackServer, QuietHandler

Answers = Mapping[str, tuple[int, Any]]
"""Path, without its query, to status and content; text stays text, all else becomes JSON."""


class CannedServer(LoopbackServer):
    """Answers GET; 404 where it has no answer, 401 untold."""

    def __init__(self, answers: Answers, *, token: str | None = None) -> None:
        class Handler(QuietHandler):
            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                status, content = answers.get(urlsplit(self.path).path, (404, "no such path"))
                if token is not None and self.headers["authorization"] != f"Bearer {token}":
                    status, content = 401, "Unauthorized"
                body = content if isinstance(content, str) else json.dumps(content)
                self.answer(body.encode(), status)

        super().__init__(Handler)
