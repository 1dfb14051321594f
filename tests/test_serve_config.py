"""The Serve config: read once, overridden by arguments and options, asked for its scaling."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.autoscaling import CPU_TARGET
from serve_app.serve_config import (
    POLICY,
    ConfigError,
    Scaling,
    ServeConfig,
    find_config,
    packaged_config,
)
from serve_app.settings import Settings
from tests.support.service import CONFIG

SCALED: dict[str, Any] = {
    "name": "Classifier",
    "max_ongoing_requests": 1,
    "max_queued_requests": 2,
    "ray_actor_options": {"num_cpus": 1},
    "autoscaling_config": {"max_replicas": 4, "policy": {"policy_function": POLICY}},
}


def write(directory: Path, content: Any) -> Path:
    path = directory / "config.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def config_of(directory: Path, deployment: Any) -> ServeConfig:
    """A config of one application with one deployment."""
    return ServeConfig.read(write(directory, {"applications": [{"deployments": [deployment]}]}))


@pytest.fixture
def config() -> ServeConfig:
    """The project's own."""
    return ServeConfig.read(CONFIG)


def test_a_config_is_taken_as_it_is_written(config: ServeConfig) -> None:
    """Without arguments nothing is changed, and the settings are the defaults."""
    assert config.document == yaml.safe_load(CONFIG.read_text())
    assert config.settings == Settings()


def test_arguments_take_the_place_of_the_configs() -> None:
    """``key=value`` is typed in the settings and handed on to the application."""
    config = ServeConfig.read(CONFIG, ["max_rows=5", "model_dir=a=b", "engine=sklearn"])
    assert config.settings == Settings(max_rows=5, model_dir=Path("a=b"), engine="sklearn")
    args = config.document["applications"][0]["args"]
    assert Settings.model_validate(args) == config.settings


@pytest.mark.parametrize("application", [{}, {"args": None}])
@pytest.mark.parametrize("options", [{}, {"http_options": None}])
def test_a_config_may_leave_out_what_has_defaults(
    tmp_path: Path, application: dict[str, Any], options: dict[str, Any]
) -> None:
    """Neither arguments, HTTP options nor a name need be written."""
    path = write(tmp_path, {"applications": [application], **options})
    config = ServeConfig.read(path, ["max_rows=5"])
    assert config.settings == Settings(max_rows=5)
    assert (config.port, config.request_timeout_s, config.application_name) == (
        8000,
        None,
        "default",
    )


@pytest.mark.parametrize(
    "content",
    [
        "[",
        "text",
        "- list",
        {},
        {"applications": None},
        {"applications": []},
        {"applications": [{}, {}]},
        {"applications": ["text"]},
        {"applications": [{"args": 5}]},
        {"applications": [{}], "http_options": 8000},
    ],
)
def test_what_is_no_config_of_one_application_is_refused(tmp_path: Path, content: Any) -> None:
    """The error names the file."""
    path = write(tmp_path, content)
    with pytest.raises(ConfigError, match=r"config\.yaml is not a Serve config with one appl"):
        ServeConfig.read(path)


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "---\n"])
def test_an_empty_config_is_refused(tmp_path: Path, content: str) -> None:
    """The error says so, and where to get one."""
    with pytest.raises(ConfigError, match=r"config\.yaml is empty; give .*`serve-app init`"):
        ServeConfig.read(write(tmp_path, content))


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*No such file"):
        ServeConfig.read(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("max_rows", "argument 'max_rows' is not key=value"),
        ("max_rows=0", "argument max_rows='0': .*greater than or equal to 1"),
        ("max_rows=many", "argument max_rows='many': .*valid integer"),
        ("maxrows=5", "argument maxrows='5': .*arguments are model_dir, "),
        ("engine=tensorflow", "argument engine.*='tensorflow'"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(argument: str, message: str) -> None:
    """The error names argument, value and what arguments there are."""
    with pytest.raises(ConfigError, match=message):
        ServeConfig.read(CONFIG, [argument])


def test_a_config_is_found_here_or_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is named wins, then the one in the working directory, then the packaged one."""
    monkeypatch.chdir(tmp_path)
    assert find_config() == packaged_config()
    assert packaged_config().read_text() == CONFIG.read_text()
    Path("serve_config.yaml").touch()
    assert find_config() == Path("serve_config.yaml")
    assert find_config(Path("other.yaml")) == Path("other.yaml")


@pytest.mark.parametrize(
    ("http", "grpc", "functions", "longest"),
    [(3, 5, ["a:b"], 5), (7, 5, ["a:b"], 7), (3, None, ["a:b"], None), (3, None, [], 3)],
)
def test_the_longest_request_is_of_either_protocol(
    config: ServeConfig, http: float, grpc: float | None, functions: list[str], longest: float
) -> None:
    """HAProxy and a drain wait for it; a protocol without a limit has none."""
    changed = config.override(
        http_options={"request_timeout_s": http},
        grpc_options={"request_timeout_s": grpc, "grpc_servicer_functions": functions},
    )
    assert changed.request_timeout_s == longest


@pytest.mark.parametrize(
    ("functions", "grpc_port", "moved"), [(["a:b"], None, 9234), (["a:b"], 7, 7), ([], 7, None)]
)
def test_a_service_can_listen_elsewhere(
    config: ServeConfig, functions: list[str], grpc_port: int | None, moved: int | None
) -> None:
    """A service without gRPC has no port for it; else that moves as far as HTTP's."""
    config = config.override(
        http_options={"port": 8000},
        grpc_options={"port": 9000, "grpc_servicer_functions": functions},
    )
    assert config.grpc_port == (9000 if functions else None)
    elsewhere = config.at("127.0.0.9", 8234, grpc_port)
    assert elsewhere.document["http_options"]["host"] == "127.0.0.9"
    assert (elsewhere.port, elsewhere.grpc_port) == (8234, moved)


def test_overrides_reach_every_level(config: ServeConfig) -> None:
    """Values are set, None removes a key, and the original stays as it is."""
    before = yaml.safe_dump(dict(config.document))
    changed = config.override(
        http_options={"port": 1234, "keep_alive_timeout_s": None},
        args={"max_rows": 5, "model_version": None},
        deployment={"max_ongoing_requests": 7, "max_queued_requests": None},
        autoscaling={"max_replicas": 9, "downscale_delay_s": None},
        cpu_target=0.3,
        proxy_location="HeadOnly",
    )
    assert changed.port == 1234
    assert changed.settings == Settings(max_rows=5)
    assert changed.document["proxy_location"] == "HeadOnly"
    assert "keep_alive_timeout_s" not in changed.document["http_options"]
    assert changed.deployment["max_ongoing_requests"] == 7
    assert "max_queued_requests" not in changed.deployment
    assert changed.deployment["autoscaling_config"]["max_replicas"] == 9
    assert "downscale_delay_s" not in changed.deployment["autoscaling_config"]
    assert changed.override(deployment={"max_queued_requests": 1}).scaling.cpu_target == 0.3
    assert yaml.safe_dump(dict(config.document)) == before


def test_only_what_is_overridden_must_exist(tmp_path: Path) -> None:
    """A config without a list of deployments can be served on another port."""
    config = ServeConfig.read(write(tmp_path, {"applications": [{}]}))
    assert config.override(http_options={"port": 1}).port == 1
    with pytest.raises(ConfigError, match="must name one deployment of its application"):
        config.override(deployment={"max_ongoing_requests": 1})


def test_the_scaling_is_that_of_the_deployment(config: ServeConfig) -> None:
    """Size, bounds, delays and targets are those that are written."""
    deployment = config.deployment
    written = deployment["autoscaling_config"]
    scaling = config.scaling
    assert scaling.replica_cpus == deployment["ray_actor_options"]["num_cpus"]
    queued, running = deployment["max_queued_requests"], deployment["max_ongoing_requests"]
    assert scaling.queue_limit == queued + running
    assert scaling.targets.cpu_utilisation == written["policy"]["policy_kwargs"]["cpu_target"]
    assert scaling.targets.ongoing_requests == written["target_ongoing_requests"]
    for name in ("min_replicas", "max_replicas", "upscale_delay_s", "downscale_delay_s"):
        assert getattr(scaling.autoscaling, name) == written[name]


def test_a_cpu_target_that_is_not_written_is_the_policys(tmp_path: Path) -> None:
    """The policy's arguments may be left out."""
    assert config_of(tmp_path, SCALED).scaling.cpu_target == CPU_TARGET


@pytest.mark.parametrize(
    ("deployment", "message"),
    [
        ({}, "must name one deployment"),
        ({"name": "A"}, "is not a Serve config with one autoscaled deployment"),
        ({**SCALED, "autoscaling_config": {"min_replicas": 1}}, "with one autoscaled deployment"),
        ({**SCALED, "ray_actor_options": {"num_cpus": "many"}}, "with one autoscaled deployment"),
        (
            {**SCALED, "autoscaling_config": {"policy": {"policy_function": "other:policy"}}},
            f"scales by other:policy; only {POLICY} is supported",
        ),
    ],
)
def test_a_deployment_that_does_not_scale_by_the_policy_is_refused(
    tmp_path: Path, deployment: dict[str, Any], message: str
) -> None:
    """It says nothing about its scaling, something impossible, or names another policy."""
    with pytest.raises(ConfigError, match=message):
        _ = config_of(tmp_path, deployment).scaling


def test_a_scaling_can_be_changed() -> None:
    """Other options and another CPU target, for what is only planned or simulated."""
    scaling = Scaling(1, 300, {"max_replicas": 5, "upscale_delay_s": 3}, cpu_target=0.5)
    changed = scaling.override({"max_replicas": 8})
    assert (changed.options, changed.cpu_target) == (
        {"max_replicas": 8, "upscale_delay_s": 3},
        0.5,
    )
    assert scaling.override({}, cpu_target=0.7).cpu_target == 0.7
    assert scaling.options["max_replicas"] == 5


def test_ray_checks_the_options() -> None:
    """An option that Ray refuses is named with its value."""
    with pytest.raises(ConfigError, match=r"downscale_delay_s=-5: .*greater than or equal to 0"):
        _ = Scaling(1, 300, {"downscale_delay_s": -5}).autoscaling


def test_targets_must_be_possible() -> None:
    """A target that no number of replicas meets is an error of the config."""
    with pytest.raises(ConfigError, match="target cpu_utilisation=-1 must be a number above 0"):
        _ = Scaling(1, 300, {}, cpu_target=-1).targets
