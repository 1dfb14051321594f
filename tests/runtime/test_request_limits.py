"""HAProxy's limits on requests follow from the Serve config."""

import pytest
from ray.serve._private import constants

from serve_app.ray_internals.grpc_server import MESSAGE_VARIABLE
from serve_app.runtime.ingress import REQUESTS_PER_REPLICA
from serve_app.runtime.request_limits import SERVER_TIMEOUT, request_limits
from serve_app.serve_config import ServeConfig, packaged_config


@pytest.fixture
def config() -> ServeConfig:
    return ServeConfig.read(packaged_config())


@pytest.mark.parametrize(("timeout", "expected"), [(10, "12"), (0.5, "3"), (29.2, "32")])
def test_haproxy_waits_a_little_longer_than_serve(
    config: ServeConfig, timeout: float, expected: str
) -> None:
    """Serve answers 408 first, unless the replica cannot answer at all."""
    changed = config.override(
        http_options={"request_timeout_s": timeout}, grpc_options={"request_timeout_s": 0.1}
    )
    assert request_limits(changed)[SERVER_TIMEOUT] == expected


def test_haproxy_takes_as_many_requests_as_the_config_allows(config: ServeConfig) -> None:
    """Those that may run and those that may wait, together."""
    changed = config.override(deployment={"max_ongoing_requests": 7, "max_queued_requests": 5})
    assert request_limits(changed)[REQUESTS_PER_REPLICA] == "12"


@pytest.mark.parametrize("unlimited", [-1, None])
def test_what_the_config_does_not_limit_has_no_limit(
    config: ServeConfig, unlimited: int | None
) -> None:
    """Null and -1 mean that a request may take any time, and that any number may wait."""
    changed = config.override(
        http_options={"request_timeout_s": None}, deployment={"max_queued_requests": unlimited}
    )
    assert request_limits(changed).keys() == {MESSAGE_VARIABLE}


def test_a_proxy_takes_no_longer_message_than_a_replica(config: ServeConfig) -> None:
    """Of a service with gRPC; Ray has the variable, whose default is 2 GiB."""
    changed = config.override(args={"max_body_bytes": 4321})
    assert request_limits(changed)[MESSAGE_VARIABLE] == "4321"
    without = changed.override(grpc_options={"grpc_servicer_functions": None})
    assert MESSAGE_VARIABLE not in request_limits(without)
    assert hasattr(constants, MESSAGE_VARIABLE)


def test_a_config_without_deployments_has_no_limit(config: ServeConfig) -> None:
    """Serve then has defaults of its own, which allow any number to wait."""
    document = dict(config.document)
    document["applications"] = [{"name": "a", "import_path": "a:b", "args": {}}]
    assert REQUESTS_PER_REPLICA not in request_limits(ServeConfig(config.path, document))
