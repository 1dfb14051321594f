"""The production environment follows from the standard variables, and what is set wins."""

import tomllib
from pathlib import Path

import pytest

from serve_app.environment import (
    HAPROXY_PROGRAM,
    PRODUCTION,
    TRACING_IMPORT_PATH,
    EnvironmentVariableError,
    launch_environment,
    tracing_environment,
)
from serve_app.ray_internals.haproxy import HAPROXY_PATH_VARIABLE

HOOK = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"
RATIO = "RAY_SERVE_TRACING_SAMPLING_RATIO"


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the wrapper of HAProxy is installed."""
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    path = tmp_path / HAPROXY_PROGRAM
    path.touch()
    return path


@pytest.mark.parametrize(
    "environment", [{}, {"OTEL_TRACES_EXPORTER": ""}, {"OTEL_TRACES_EXPORTER": "none"}]
)
def test_without_an_exporter_there_is_no_hook(environment: dict[str, str]) -> None:
    """Tracing that was not asked for costs nothing, for any sampling ratio."""
    assert tracing_environment(environment) == {}
    assert tracing_environment({**environment, "OTEL_TRACES_SAMPLER_ARG": "often"}) == {}


@pytest.mark.parametrize(
    ("exporter", "ratio"), [("gcp_trace", None), ("otlp", "0"), ("console", "1.0")]
)
def test_an_exporter_switches_the_hook_on(exporter: str, ratio: str | None) -> None:
    """Ray's hook and sampling ratio follow from OpenTelemetry's own variables."""
    environment = {"OTEL_TRACES_EXPORTER": exporter}
    if ratio is not None:
        environment["OTEL_TRACES_SAMPLER_ARG"] = ratio
    found = tracing_environment(environment)
    assert found[HOOK] == TRACING_IMPORT_PATH
    assert found.get(RATIO) == ratio


@pytest.mark.parametrize("ratio", ["-0.1", "1.5", "ten", "nan"])
def test_an_impossible_sampling_ratio_is_refused(ratio: str) -> None:
    """Ray would fail with it only after half of it has started; the error names the value."""
    environment = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER_ARG": ratio}
    with pytest.raises(
        EnvironmentVariableError, match=f"OTEL_TRACES_SAMPLER_ARG='{ratio}' is not a ratio"
    ):
        tracing_environment(environment)


def test_the_production_mode_is_added() -> None:
    """All variables of the production mode are there, and those of the caller."""
    found = launch_environment({"HOME": "/home/me"})
    assert found.items() >= {**PRODUCTION, "HOME": "/home/me"}.items()


def test_the_standard_sampling_ratio_wins_over_rays() -> None:
    """The image has a default for Ray's variable; a user sets the standard one."""
    image = {"OTEL_TRACES_EXPORTER": "gcp_trace", RATIO: "0.1"}
    assert launch_environment(image)[RATIO] == "0.1"
    assert launch_environment({**image, "OTEL_TRACES_SAMPLER_ARG": "1.0"})[RATIO] == "1.0"


def test_what_is_set_wins() -> None:
    """A variable of the user takes the place of the production mode's own value."""
    own = {"OMP_NUM_THREADS": "4", "OTEL_TRACES_EXPORTER": "otlp", HOOK: "mine:hook"}
    assert launch_environment(own).items() >= own.items()


def test_ray_starts_the_wrapper_of_haproxy(program: Path) -> None:
    """It is installed beside serve-app; without it nothing starts; a program of the user wins."""
    assert launch_environment({})[HAPROXY_PATH_VARIABLE] == str(program)
    scripts = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert program.name in scripts["scripts"]
    program.unlink()
    with pytest.raises(EnvironmentVariableError, match="install serve-app again"):
        launch_environment({})
    assert launch_environment({HAPROXY_PATH_VARIABLE: "mine"})[HAPROXY_PATH_VARIABLE] == "mine"


def test_what_follows_from_the_config_is_a_default() -> None:
    """It is there, unless the user has set it."""
    limits = {"RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "12"}
    own = {"RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "99"}
    assert launch_environment({}, limits).items() >= limits.items()
    assert launch_environment(own, limits).items() >= own.items()
