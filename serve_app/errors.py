"""Errors that a user can cause: one base class, one wording.

    UserError                  what was asked for cannot be done; exit code 2
        ArtifactError          a model directory that must not be served
        PackagingError         an estimator or data that cannot be packaged
        ConfigError            a Serve config that cannot be used
        LaunchError            the service cannot start
        ServiceError           a service that does not answer as it should
        ...
        CheckFailedError       it was done, and the result is not good enough; exit code 1

Every message names the problem, the value and the fix, in one line where that is possible.
"""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pydantic import ValidationError

QUOTED = 200
"""Characters of an unexpected value that a message shows."""


class UserError(Exception):
    """Bad input, or something that is missing."""

    exit_code: ClassVar[int] = 2
    """Exit code of a command that ends with this error."""


class CheckFailedError(UserError):
    """A command ran to its end and found that something is not good enough."""

    exit_code = 1


def first_error(error: "ValidationError") -> str:
    """The first thing that pydantic objects to, as ``field=value: reason``."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    if not field:
        return str(first["msg"])
    value = first["input"]
    # A missing field has its parent as the input, which would be the whole document.
    if first["type"] == "missing" or isinstance(value, dict | list | tuple):
        return f"{field}: {first['msg']}"
    return f"{field}={excerpt(repr(value))}: {first['msg']}"


def excerpt(text: str) -> str:
    """The beginning of ``text`` on one line, fit for a message."""
    return " ".join(text[:QUOTED].split())
