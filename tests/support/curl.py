"""The curl commands of the documentation."""

import itertools
import re
import shlex
from typing import NamedTuple, Self

HERE = "http://localhost:8000"
"""Address of the service in all of them."""


class Curl(NamedTuple):
    """What a command would send."""

    path: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, code: str) -> Self:
        """What the command ``code`` would send."""
        words = shlex.split(code.replace("\\\n", ""))[1:]
        (url,) = [word for word in words if word.startswith(HERE)]
        given = [value for option, value in itertools.pairwise(words) if option == "-H"]
        options = ("-d", "--data-binary")
        (body,) = [value for option, value in itertools.pairwise(words) if option in options]
        headers = dict(re.split(r": *", each, maxsplit=1) for each in given)
        return cls(url.removeprefix(HERE), headers, body.encode())
