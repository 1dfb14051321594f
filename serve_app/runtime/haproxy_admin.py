"""HAProxy's Runtime API: https://docs.haproxy.org/2.8/management.html, section 9.3."""

import contextlib
import re
import socket
from pathlib import Path
from typing import Self

PROMPT = b"\n> "
ANSWER_SECONDS = 2.0


def pid_at(path: Path) -> int | None:
    """Process id of the HAProxy that answers at ``path``; None if there is none."""
    with contextlib.suppress(OSError), AdminSocket(path) as admin:
        return admin.pid()
    return None


class AdminSocket:
    """A connection. Open it before a soft stop: HAProxy accepts none after it.

    Raises:
        OSError: nothing answers there.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(str(path))
            self._ask("prompt")
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def pid(self) -> int | None:
        """Id of the process that answers.

        Raises:
            OSError: it answers no more.
        """
        found = re.search(r"^Pid: (\d+)$", self._ask("show info"), re.MULTILINE)
        return int(found[1]) if found else None

    def shows_requests(self) -> bool:
        """Whether HAProxy lists any request, from its first byte to the last of its answer."""
        try:
            sessions = self._ask("show sess").splitlines()
        except OSError:
            return True
        return any(" fe=" in line and " fe=GLOBAL " not in line for line in sessions)

    def _ask(self, command: str) -> str:
        self._socket.sendall(f"{command}\n".encode())
        answer = b""
        while not answer.endswith(PROMPT):
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError("HAProxy has closed its admin socket")
            answer += part
        return answer.decode()
