"""Several applications in one Ray differ in no more than they must."""

from bench.ray_host import application, environment_for, many_applications
from serve_app.ray_internals.grpc_server import MESSAGE_VARIABLE
from serve_app.runtime.request_limits import request_limits
from serve_app.serve_config import ServeConfig
from tests.support.service import CONFIG


def test_applications_share_the_deployment_options() -> None:
    """What runs in one Ray differs by name, arguments and environment only."""
    config = ServeConfig.read(CONFIG)
    made = many_applications(
        config,
        [
            application(config, "one", "a:b", "A", args={"x": 1}),
            application(config, "two", "c:d", "B", args={}, environment={"VARIABLE": "1"}),
        ],
        port=1234,
    )
    assert made.port == 1234
    one, two = made.document["applications"]
    assert (one["route_prefix"], one["import_path"], one["args"]) == ("/one", "a:b", {"x": 1})
    assert (two["route_prefix"], two["import_path"], two["args"]) == ("/two", "c:d", {})
    (template,) = config.document["applications"]
    assert one["logging_config"] == two["logging_config"] == template["logging_config"]
    (first,), (second,) = one["deployments"], two["deployments"]
    assert (first.pop("name"), second.pop("name")) == ("A", "B")
    assert first.pop("ray_actor_options")["runtime_env"] == {"env_vars": {}}
    assert second.pop("ray_actor_options")["runtime_env"] == {"env_vars": {"VARIABLE": "1"}}
    assert first == second
    assert first["max_ongoing_requests"] == config.deployment["max_ongoing_requests"]
    assert (first["num_replicas"], "autoscaling_config" in first) == (1, False)


def test_grpc_is_there_where_it_has_a_port() -> None:
    """Beside others an application has none: their clients would have to name it."""
    config = ServeConfig.read(CONFIG)
    one = [application(config, "one", "a:b", "A", args={})]
    assert many_applications(config, one, port=1234).grpc_port is None
    assert many_applications(config, one, port=1234, grpc_port=4321).grpc_port == 4321


def test_ray_serve_accepts_the_applications() -> None:
    """Their options are those of Serve's own schema."""
    config = ServeConfig.read(CONFIG)
    applications = [application(config, name, "a:b", "A", args={}) for name in ("one", "two")]
    schema = many_applications(config, applications, port=1234).validated()
    assert [each.name for each in schema.applications] == ["one", "two"]


def test_the_host_has_the_limits_of_the_service() -> None:
    """HAProxy waits as long, and takes as many requests, as where the same config is served."""
    config = ServeConfig.read(CONFIG)
    made = many_applications(config, [application(config, "one", "a:b", "A", args={})], port=1234)
    served = request_limits(config)
    del served[MESSAGE_VARIABLE]  # it has no gRPC
    assert len(served) == 2
    assert served.items() <= environment_for(made, {}).items()
