"""What goes between a process that makes spans and the one that exports them.

Spans go there in frames: four bytes with the length, and that many of a list of plain spans as
`marshal` writes it. It is the quickest, writes once what spans share, and both ends are of one
Python. Reports come back as lines of JSON.
"""

import json
import marshal
import struct
from collections.abc import Sequence
from typing import IO, Any, NamedTuple, cast

from serve_app.telemetry.plain_spans import PlainSpan

_LENGTH = struct.Struct("<I")
SCALARS: tuple[type[Any], ...] = (str, bool, int, float, bytes)


def write_spans(pipe: IO[bytes], spans: Sequence[PlainSpan]) -> None:
    """Write one frame.

    Raises:
        OSError: nobody reads any more.
    """
    try:
        data = marshal.dumps(cast(Any, spans))
    except ValueError:
        # A value of a subclass, such as NumPy's, whose module the other end has not.
        data = marshal.dumps(_builtin(spans))
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def read_spans(pipe: IO[bytes]) -> list[PlainSpan] | None:
    """Read one frame; None at the end, also in the middle of a frame."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    if len(data) < length:
        return None
    spans: list[PlainSpan] = marshal.loads(data)  # noqa: S302 - the parent process wrote it
    return spans


def _builtin(value: Any) -> Any:
    """``value`` with exact types only; what is none of them as its text."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {_builtin(key): _builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_builtin(item) for item in value)
    for kind in SCALARS:
        if isinstance(value, kind):
            return kind(value)
    return str(value)


class Report(NamedTuple):
    """What the exporting process says."""

    kind: str
    """An outcome of spans, or `UNUSABLE`, `BROKEN`, `PRINTED`."""
    spans: int = 0
    """How many had that outcome."""
    text: str = ""
    """The cause of a failure, or what was printed."""
    fix: str = ""

    def line(self) -> str:
        """One line, as `report_in` reads it."""
        return json.dumps(self) + "\n"


UNUSABLE = "unusable"
"""There is no exporter, for now: ``text`` and ``fix`` say why."""
BROKEN = "broken"
"""The process ends, because of ``text``."""
PRINTED = "printed"
"""The exporter has printed ``text``."""


def report_in(line: str) -> Report:
    """The report that a line holds."""
    return Report(*json.loads(line))
