"""Several applications in one Ray differ in no more than they must."""

from bench.ray_host import RayApplication, many_applications
from serve_app.serve_config import ServeConfig
from tests.support.service import CONFIG


def test_applications_share_the_deployment_options() -> None:
    """What runs in one Ray differs by name, arguments and environment only."""
    config = ServeConfig.read(CONFIG)
    made = many_applications(
        config,
        [
            RayApplication("one", "a:b", "A", {"x": 1}),
            RayApplication("two", "c:d", "B", {}, {"VARIABLE": "1"}),
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


def test_ray_serve_accepts_the_applications() -> None:
    """Their options are those of Serve's own schema."""
    config = ServeConfig.read(CONFIG)
    applications = [RayApplication(name, "a:b", "A", {}) for name in ("one", "two")]
    schema = many_applications(config, applications, port=1234).validated()
    assert [application.name for application in schema.applications] == ["one", "two"]
