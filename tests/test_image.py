"""The Dockerfile says what the code and the locks say."""

import re
import shlex
from pathlib import Path

import pytest

from serve_app.environment import HAPROXY_PROGRAM, PRODUCTION, tracing_environment
from serve_app.ray_internals.haproxy import HAPROXY_PATH_VARIABLE

ROOT = Path(__file__).parents[1]


@pytest.fixture
def dockerfile() -> str:
    """The Dockerfile, continued lines joined, comments removed."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))


def final_environment(dockerfile: str) -> dict[str, str]:
    final = dockerfile[dockerfile.rindex("\nFROM ") :]
    lines = re.findall(r"^ENV (.*)$", final, re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))


def test_the_image_is_in_production_mode(dockerfile: str) -> None:
    """A Ray node that KubeRay starts has the environment that the launcher sets elsewhere."""
    environment = final_environment(dockerfile)
    assert environment["OTEL_TRACES_EXPORTER"] == "gcp_trace"
    program = {HAPROXY_PATH_VARIABLE: f"/opt/venv/bin/{HAPROXY_PROGRAM}"}
    expected = {**PRODUCTION, **program, **tracing_environment(environment)}
    assert {name: environment.get(name) for name in expected} == expected
    sampling = "RAY_SERVE_TRACING_SAMPLING_RATIO"
    ours = {name for name in environment if name.startswith("RAY_")} - {sampling}
    assert ours == {name for name in expected if name.startswith("RAY_")}
    assert 0 < float(environment[sampling]) <= 1


def test_only_locked_dependencies_are_installed(dockerfile: str) -> None:
    """Every pip command checks hashes, or installs nothing but the project itself."""
    commands = re.findall(r"pip (?:install|wheel)[^&\n]*", dockerfile)
    assert len(commands) == 4
    for command in commands:
        assert "--require-hashes" in command or "--no-deps" in command
    final = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert "pip install" not in final
    assert "apt-get" not in final


def test_the_compiler_is_not_in_the_image() -> None:
    """Packaging needs more than serving; none of it is in the lock that the image installs."""
    serving = (ROOT / "locks" / "serve.txt").read_text(encoding="utf-8")
    packaging = (ROOT / "locks" / "package.txt").read_text(encoding="utf-8")
    for name in ("onnx", "hatchling"):
        assert f"\n{name}==" in packaging
        assert f"\n{name}==" not in serving


def test_an_image_with_the_libraries_of_estimators_has_the_same_others(dockerfile: str) -> None:
    """Another lock adds to what serves, and changes nothing of it."""
    assert "ARG LOCK=serve" in dockerfile
    locks = [
        set(re.findall(r"^\S+==[^ ]+", (ROOT / "locks" / name).read_text("utf-8"), re.MULTILINE))
        for name in ("serve.txt", "engines.txt")
    ]
    added = {pin.partition("==")[0] for pin in locks[1] - locks[0]}
    assert locks[0] < locks[1]
    assert {"pandas", "catboost", "imbalanced-learn", "lightgbm", "xgboost-cpu"} < added


def test_python_is_the_preferred_one(dockerfile: str) -> None:
    """The base image has the version that noxfile.py calls the fastest."""
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    (preferred,) = re.findall(r'^PREFERRED_PYTHON = "(.*)"$', noxfile, re.MULTILINE)
    assert f"library/python:{preferred}-slim" in dockerfile


def test_the_build_sees_only_what_it_copies(dockerfile: str) -> None:
    """Everything else, credentials and history among it, stays out of the build."""
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignore[1] == "*"
    admitted = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        name.removesuffix("/").replace("${LOCK}", lock)
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
        for name in line.split()[:-1]
        for lock in ("serve", "engines")
    }
    assert copied == admitted
    assert "**/gha-creds-*.json" in ignore
