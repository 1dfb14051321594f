"""The README's commands work as typed, in the environment that the README makes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.readme import Block, blocks
from tests.support.service import PROJECT, Service
from tests.support.waiting import wait_until

README = blocks(PROJECT / "README.md")
PROOFS = {"clone", "service", "answer", "python", "shell", "own", "elsewhere"}
RUN_ELSEWHERE = {
    "serve run serve_config.yaml": "test_development",
    "serve-app load --ui": "test_load, the web UI",
    "locust -f loadtest/locustfile.py --host http://localhost:8000 --headless --scenario spike": (
        "test_load"
    ),
    "nox -s scale": "test_scale, cut short",
    "docker build -t serve-app .": "tests/test_image.py reads the Dockerfile; CI builds it",
    "docker run --rm -p 8000:8000 --stop-timeout 30 --read-only --tmpfs /tmp serve-app": "CI",
    "serve-app k8s render --image NAME@sha256:DIGEST": "test_wheel, with a digest",
    "kubectl apply -k kuberay/overlays/gke": "tests/kuberay/test_schemas.py, without a cluster",
    "serve-app k8s rollout wait": "tests/deploy/test_rollout.py",
    "nox -s bench": "tests/bench, and too long for the test suite",
    "nox -s tests": "this very run",
}
ANSWER_SECONDS = 180


@dataclass(frozen=True)
class Newcomer:
    """A user with a Python of their own and an empty directory."""

    directory: Path
    service: Service

    def types(self, code: str) -> str:
        """Run lines in a fresh shell, as after the README's ``source .venv/bin/activate``."""
        lines = code.replace("cd serve-app\n", "").replace("http://localhost:8000", self.url)
        done = subprocess.run(
            ["bash", "-euc", f"source .venv/bin/activate\n{lines}"],
            cwd=self.directory / "serve-app",
            env=_environment(self.directory),
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def url(self) -> str:
        """Address of the service that the README starts."""
        return self.service.url


def _marked(proof: str) -> list[Block]:
    return [block for block in README if block.proof == proof]


def _environment(directory: Path) -> dict[str, str]:
    """Nothing of the development environment: a plain Python with pip, and the system."""
    ours = ("VIRTUAL_ENV", "PYTHON", "NOX", "COVERAGE", "UV_", "RAY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = f"{directory / 'python' / 'bin'}:/usr/bin:/bin"
    return {**kept, "PATH": path, "RAY_USAGE_STATS_ENABLED": "0"}


def _service_environment(directory: Path) -> dict[str, str]:
    """In place of the whole environment of the tests; an empty variable is one that is not set."""
    return {
        **dict.fromkeys(os.environ.keys() - _environment(directory).keys(), ""),
        **_environment(directory),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }


def test_every_block_says_how_it_is_proved() -> None:
    """No command or code stands in the README unproved."""
    for block in README:
        assert block.proof in PROOFS or block.language == "text", block.code
    for block in _marked("elsewhere"):
        for command in block.code.splitlines():
            assert command in RUN_ELSEWHERE, f"{command}: where is it run?"


@pytest.fixture(scope="module")
def newcomer(usual_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """The first commands, as typed, with a Python that has no package but pip."""
    directory = tmp_path_factory.mktemp("newcomer")
    subprocess.run([sys.executable, "-m", "venv", str(directory / "python")], check=True)
    (block,) = _marked("clone")
    service = Service(
        ["bash", "-euc", block.code.replace("URL", str(PROJECT))],
        directory=directory,
        port=usual_port,
        environment=_service_environment(directory),
    )
    service.start(seconds=600)
    try:
        yield Newcomer(directory, service)
    finally:
        service.stop()


@pytest.mark.timeout(700)
def test_requests_are_answered_as_shown(newcomer: Newcomer) -> None:
    """The curl commands get 200, and the first one the answer that stands below it."""
    answers = [json.loads(newcomer.types(block.code)) for block in _marked("service")]
    (shown,) = (json.loads(block.code) for block in _marked("answer"))
    assert answers[0]["predicted_class"] == shown["predicted_class"]
    assert answers[0]["probabilities"] == pytest.approx(shown["probabilities"], abs=5e-5)
    assert [row["predicted_class"] for row in answers[1]["predictions"]] == ["setosa", "virginica"]


@pytest.mark.timeout(600)
def test_code_and_commands_run(newcomer: Newcomer) -> None:
    """Python blocks and commands run as they stand, one after the other."""
    for block in README:
        if block.proof == "python":
            (newcomer.directory / "serve-app" / "block.py").write_text(block.code, "utf-8")
            newcomer.types("python block.py")
        elif block.proof == "shell":
            newcomer.types(block.code)


def test_two_commands_serve_until_ctrl_c(newcomer: Newcomer) -> None:
    """They train, say where everything is and what to type next, and stop on Ctrl-C."""
    wait_until(lambda: "dashboard  http" in newcomer.service.log())
    log = newcomer.service.log()
    assert "http://localhost:8000/predict/" in log
    # Ray takes the next port if another one has 8265.
    (dashboard,) = re.findall(r"dashboard +(http://127\.0\.0\.1:82\d\d)  \(asks for the token", log)
    assert httpx.get(f"{dashboard}/api/version", timeout=20).status_code == 401
    assert "source .venv/bin/activate && serve-app load" in log
    newcomer.service.terminate(signal.SIGINT)
    assert newcomer.service.stop() == 0, newcomer.service.log()
    assert "stopped" in newcomer.service.log()


@pytest.mark.timeout(300)
def test_the_model_of_a_dataframe_is_served(newcomer: Newcomer, usual_port: int) -> None:
    """The model that the README packages answers the README's request, a gap among its values."""
    serve, request = (block.code for block in _marked("own"))
    service = Service(
        ["bash", "-euc", f"cd serve-app\nsource .venv/bin/activate\n{serve}"],
        directory=newcomer.directory,
        port=usual_port,
        environment=_service_environment(newcomer.directory),
    )
    with service:
        answer = json.loads(newcomer.types(request))
    assert answer["predicted_class"] in {"yes", "no"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
