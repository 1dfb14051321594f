"""serve_config.yaml says what Ray Serve understands, and nothing that it would ignore."""

import importlib
import typing
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
import yaml
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import DeploymentSchema, ServeDeploySchema

from serve_app.deployment import Classifier, build_app
from serve_app.settings import Settings
from tests.support.service import CONFIG

Model = type[pydantic.BaseModel]

UNTYPED: dict[tuple[Model, str], Model] = {
    # Annotated as a plain dictionary or model; the dictionary would hide the model's fields.
    (DeploymentSchema, "autoscaling_config"): AutoscalingConfig,
}


@pytest.fixture
def config() -> Any:
    return yaml.safe_load(CONFIG.read_text())


def model_of(owner: Model, field: str) -> Model | None:
    """The pydantic model that describes the value of a field, alone or in a list."""
    if (owner, field) in UNTYPED:
        return UNTYPED[owner, field]
    pending = [owner.model_fields[field].annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            return annotation
        pending += typing.get_args(annotation)
    return None


def unknown_keys(value: Any, model: Model, path: str = "") -> Iterator[str]:
    """Paths of all keys that ``model`` does not know, at every level."""
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from unknown_keys(item, model, f"{path}[{position}]")
        return
    for key, inner in value.items():
        here = f"{path}.{key}".lstrip(".")
        if key not in model.model_fields:
            yield here
        elif isinstance(inner, dict | list) and (deeper := model_of(model, key)):
            yield from unknown_keys(inner, deeper, here)


# Deprecated, but what is to replace it is not read by this version of Ray.
@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_ray_serve_accepts_the_config(config: Any) -> None:
    """The file parses as Ray's own deployment schema."""
    schema = ServeDeploySchema.model_validate(config)
    assert [application.name for application in schema.applications] == ["classifier"]


def test_no_key_is_unknown_at_any_level(config: Any) -> None:
    """Serve ignores a mistyped key without a word, so each is compared with Ray's fields."""
    assert list(unknown_keys(config, ServeDeploySchema)) == []


@pytest.mark.parametrize(
    "path",
    [
        "http_option",
        "http_options.prot",
        "logging_config.encodings",
        "applications[0].arg",
        "applications[0].deployments[0].max_ongoing_request",
        "applications[0].deployments[0].autoscaling_config.min_replica",
        "applications[0].deployments[0].autoscaling_config.policy.policy_funktion",
        "applications[0].deployments[0].backpressure_config.status",
        "applications[0].deployments[0].ray_actor_options.cpus",
    ],
)
def test_an_unknown_key_would_be_noticed(config: Any, path: str) -> None:
    """The check reaches every level of the file."""
    *parents, last = path.replace("[0]", ".0").split(".")
    node = config
    for part in parents:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] = 1
    assert list(unknown_keys(config, ServeDeploySchema)) == [path]


def test_the_arguments_are_the_settings(config: Any) -> None:
    """Every setting is written in the config, with its default, and nothing else is."""
    args = config["applications"][0]["args"]
    assert list(args) == list(Settings.model_fields)
    assert Settings.model_validate(args) == Settings()
    assert args == Settings().model_dump(mode="json")


def test_the_names_are_those_of_the_code(config: Any) -> None:
    """Import path, settings type, deployment and policy exist under the names in the config."""
    (application,) = config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert getattr(importlib.import_module(module), name) is build_app
    assert typing.get_type_hints(build_app)["settings"] is Settings
    (deployment,) = application["deployments"]
    assert deployment["name"] == Classifier.name  # type: ignore[attr-defined]
    policy = deployment["autoscaling_config"]["policy"]["policy_function"]
    module, _, name = policy.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_requests_end_before_the_replica_and_the_proxy_do(config: Any) -> None:
    """A request that was accepted has time to be answered when a replica is stopped."""
    options = config["http_options"]
    (deployment,) = config["applications"][0]["deployments"]
    assert options["request_timeout_s"] < deployment["graceful_shutdown_timeout_s"]
    # Google's load balancers keep connections for 600 s; the side that closes first loses requests.
    assert options["keep_alive_timeout_s"] > 600
