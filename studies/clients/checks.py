"""What a client was asked to do, and what it made of the answers."""

import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studies.clients.case import Case

TOLERANCE = 1e-5
"""Of probabilities: compiled models compute some in single precision."""
LONGEST = 100
"""Characters of what is shown of an answer."""


@dataclass(frozen=True)
class Check:
    """One call of a client."""

    client: str
    call: str
    passed: bool
    saw: str
    """What the client returned or raised, shortened."""


class Checks:
    """Calls a client and notes what became of each call.

    Args:
        client: name and version of the client.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self.found: list[Check] = []

    def __call__(self, call: str, ask: Callable[[], Any], expected: Any) -> None:
        """A call that should return ``expected``."""
        try:
            got = ask()
        except Exception as error:
            self._failed(call, error)
        else:
            self._compare(call, got, expected)

    async def wait(self, call: str, answer: Awaitable[Any], expected: Any) -> None:
        """The same for what is to be awaited."""
        try:
            got = await answer
        except Exception as error:
            self._failed(call, error)
        else:
            self._compare(call, got, expected)

    def refuses(self, call: str, ask: Callable[[], Any], *words: str) -> None:
        """A call that should raise an error whose text has ``words``."""
        try:
            got = ask()
        except Exception as error:
            self._refused(call, error, words)
        else:
            self._note(call, f"no error, but {got!r}", passed=False)

    async def wait_refuses(self, call: str, answer: Awaitable[Any], *words: str) -> None:
        """The same for what is to be awaited."""
        try:
            got = await answer
        except Exception as error:
            self._refused(call, error, words)
        else:
            self._note(call, f"no error, but {got!r}", passed=False)

    def _compare(self, call: str, got: Any, expected: Any) -> None:
        got = plain(got)
        passed = same(got, expected)
        self._note(call, f"{got}" if passed else f"{got}, not {expected}", passed=passed)

    def _failed(self, call: str, error: Exception) -> None:
        self._note(call, f"{type(error).__name__}: {error}", passed=False)

    def _refused(self, call: str, error: Exception, words: Iterable[str]) -> None:
        text = f"{type(error).__name__}: {error}"
        self._note(call, text, passed=all(word in text for word in words))

    def _note(self, call: str, saw: str, *, passed: bool) -> None:
        line = " ".join(saw.split())
        if passed and len(line) > LONGEST:
            line = f"{line[:LONGEST]}..."
        self.found.append(Check(self._client, call, passed, line))


def plain(value: Any) -> Any:
    """Arrays as lists, and text in bytes as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def same(got: Any, expected: Any) -> bool:
    """Whether both are the same, numbers within `TOLERANCE`."""
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(same, got, expected))
    if isinstance(expected, float):
        return isinstance(got, float) and abs(got - expected) <= TOLERANCE
    return type(got) is type(expected) and bool(got == expected)


def main(ask: Callable[[Case], list[Check]]) -> None:
    """Read the case whose file is the first argument, and print what ``ask`` finds as JSON."""
    found = ask(Case.read(Path(sys.argv[1])))
    print(json.dumps([asdict(each) for each in found]))
