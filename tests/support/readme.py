"""The code blocks of a Markdown file, and how each is proved."""

import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(
    r"(?:<!-- test: (?P<proof>\w+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)\n```", re.DOTALL
)


class Block(NamedTuple):
    """One fenced block."""

    language: str
    code: str
    proof: str | None
    """What the comment ``<!-- test: ... -->`` above it says."""


def blocks(path: Path) -> list[Block]:
    """Fenced code blocks of a Markdown file, in order."""
    text = path.read_text(encoding="utf-8")
    return [Block(m["language"], m["code"], m["proof"]) for m in _BLOCK.finditer(text)]
