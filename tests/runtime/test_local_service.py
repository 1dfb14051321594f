"""A config that cannot be served is refused before Ray starts."""

import pytest
import ray

from serve_app.runtime.local_service import LocalService, Progress
from serve_app.serve_config import ConfigError, ServeConfig
from tests.support.service import CONFIG


@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_a_config_that_serve_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """One line names the field; no process is started, and there is nothing to stop."""
    config = ServeConfig.read(CONFIG).override(http_options={"port": "eighty"})
    service = LocalService(
        config, host="127.0.0.1", dashboard=False, request_seconds=1, progress=Progress()
    )
    with pytest.raises(ConfigError, match=r"serve_config\.yaml: http_options\.port='eighty': "):
        service.start()
    service.stop()
    assert not ray.is_initialized()
    assert capsys.readouterr().out == "[  0.0 s] starting Ray\n"
