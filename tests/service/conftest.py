"""Only one service runs at a time: Ray Serve's HAProxy has fixed ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Service, production
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def service(iris: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The default model in production mode, for all tests of one module."""
    with production(iris, tmp_path_factory.mktemp("service")) as running:
        # It answers through Serve's fallback proxy a moment before HAProxy has the replica.
        wait_until(lambda: "Ctrl-C drains and stops" in running.log())
        yield running
