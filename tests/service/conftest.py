"""Services run side by side, one of each pytest-xdist worker, see `tests.support.service.PORT`."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.serve_config import DEFAULT_PORT
from tests.support.service import Service, production
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def usual_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a command that has no option for another; other workers wait for it."""
    with (tmp_path_factory.getbasetemp().parent / "usual-port.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield DEFAULT_PORT


@pytest.fixture(scope="module")
def service(iris: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The default model in production mode, for all tests of one module."""
    with production(iris, tmp_path_factory.mktemp("service")) as running:
        # It answers through Serve's fallback proxy a moment before HAProxy has the replica.
        wait_until(lambda: "Ctrl-C drains and stops" in running.log())
        yield running
