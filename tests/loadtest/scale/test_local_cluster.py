"""The local cluster's command and environment; tests/service starts the real one."""

from pathlib import Path

import pytest

from loadtest.scale.local_cluster import local_cluster
from serve_app.environment import PRODUCTION
from serve_app.runtime.ports import FIXED_PORTS
from serve_app.runtime.processes import ProcessError
from serve_app.serve_config import ServeConfig
from tests.support.service import CONFIG


@pytest.mark.parametrize("production", [True, False])
def test_a_head_that_ends_is_an_error_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, production: bool
) -> None:
    """Plain mode has no variable of the production mode, even if this process has, as an image."""
    ray = tmp_path / "ray"
    ray.write_text("#!/bin/sh\nenv\necho no such thing\nexit 1\n")
    ray.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name in PRODUCTION:
        monkeypatch.setenv(name, PRODUCTION[name])
    log = tmp_path / "ray.log"
    config = ServeConfig.read(CONFIG)
    cluster = local_cluster(
        config, max_nodes=2, idle_seconds=1, log_file=log, production=production
    )
    with pytest.raises(ProcessError, match="no such thing"), cluster:
        pass
    names = {line.partition("=")[0] for line in log.read_text().splitlines()}
    assert (set(PRODUCTION) <= names) is production
    assert bool(set(PRODUCTION) & names) is production
    # Another service of this machine has the usual ports.
    assert (FIXED_PORTS.keys() <= names) is production
    assert "RAY_AUTH_TOKEN" in names
