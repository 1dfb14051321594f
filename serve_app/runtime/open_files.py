"""The limit of open files, and how many connections it allows."""

import resource
from collections.abc import Callable

from serve_app.errors import UserError

LEAST_FILES = 256
"""Ray starts with as many; HAProxy then has some seventy connections."""
FILES_PER_CONNECTION = 2.5
"""One for the client, one for the replica, and a pipe for every fourth connection."""
FEW_CONNECTIONS = 1000
"""A service with fewer may refuse clients that it could serve."""
RESERVED_FILES = 300
"""Most files that HAProxy needs for anything else; a quarter where there are few."""


class OpenFilesError(UserError):
    """The limit of open files is too low: names both, and the fix."""


def connections_within(files: int, wanted: int) -> int:
    """Connections that HAProxy can have, at most ``wanted``, where it may open ``files`` files."""
    if files == resource.RLIM_INFINITY:
        return wanted
    reserved = min(RESERVED_FILES, files // 4)
    return max(min(wanted, int((files - reserved) / FILES_PER_CONNECTION)), 1)


def check_open_files(wanted: int, say: Callable[[str], None]) -> None:
    """Say how many connections are possible, if they are few and fewer than ``wanted``.

    Raises:
        OpenFilesError: Ray would not start.
    """
    # Ray and HAProxy raise their own limit to this one.
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < LEAST_FILES:
        raise OpenFilesError(
            f"a process may open {files} files, and the service needs {LEAST_FILES}; raise the "
            "limit with `ulimit -n`, or with LimitNOFILE in a unit of systemd"
        )
    if (possible := connections_within(files, wanted)) < min(wanted, FEW_CONNECTIONS):
        say(f"a process may open {files} files: at most {possible:,} connections; see `ulimit -n`")
