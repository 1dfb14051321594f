"""A low limit of open files means fewer connections, and is said; too low a one is refused."""

import resource
import subprocess
import sys

import pytest

from serve_app.runtime.open_files import LEAST_FILES, connections_within

CHECK = """\
import resource, sys
from serve_app.errors import UserError
from serve_app.runtime.open_files import check_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
try:
    check_open_files(10_000, print)
except UserError as error:
    sys.exit(str(error))
"""


def check(files: int) -> tuple[str, str]:
    """What is said, and the error, where so many files may be opened."""
    command = [sys.executable, "-c", CHECK, str(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


@pytest.mark.parametrize("files", [LEAST_FILES, 1024, 2048])
def test_few_files_are_fewer_connections(files: int) -> None:
    """All connections together need fewer files than there are; health checks have some, too."""
    connections = connections_within(files, 10_000)
    assert 50 < connections < files / 2.5
    said, error = check(files)
    assert f"may open {files} files: at most {connections:,} connections" in said
    assert error == ""


@pytest.mark.parametrize("files", [100_000, resource.RLIM_INFINITY])
def test_enough_files_are_not_spoken_of(files: int) -> None:
    """What was asked for is possible."""
    assert connections_within(files, 10_000) == 10_000


def test_too_few_files_are_one_line_with_the_fix() -> None:
    """Ray would end with a traceback."""
    said, error = check(LEAST_FILES - 1)
    assert said == ""
    assert f"open {LEAST_FILES - 1} files, and the service needs {LEAST_FILES}" in error
    assert "ulimit -n" in error
    assert len(error.splitlines()) == 1
