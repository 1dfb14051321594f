"""What the README says to type works, and shows what it says."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.readme import Block, blocks
from tests.support.service import PROJECT, Service

README = blocks(PROJECT / "README.md")
PROOFS = {"clone", "activate", "service", "answer", "python", "shell", "elsewhere"}
RUN_ELSEWHERE = {
    "serve-app serve model_dir=wine": "test_lifecycle, with another model",
    "serve run serve_config.yaml": "test_lifecycle, development mode",
    "serve-app load --ui": "test_load, the web UI",
    "locust -f loadtest/locustfile.py --host http://localhost:8000 --headless --scenario spike": (
        "tests/loadtest/test_locustfile.py, with other options"
    ),
    "nox -s scale": "test_scale, cut short",
    "docker build -t serve-app .": "tests/test_image.py reads the Dockerfile; CI builds it",
    "docker run --rm -p 8000:8000 --stop-timeout 30 --read-only --tmpfs /tmp serve-app": "CI",
    "serve-app k8s render --image NAME@sha256:DIGEST": "tests/deploy/test_render.py",
    "kubectl apply -k kuberay/overlays/gke": "tests/kuberay/test_schemas.py, without a cluster",
    "serve-app k8s rollout wait": "tests/deploy/test_rollout.py",
    "nox -s bench": "tests/bench, and too long for the test suite",
    "nox -s tests": "this very run",
}


def _marked(*proofs: str) -> list[Block]:
    return [block for block in README if block.proof in proofs]


def test_every_block_says_how_it_is_proved() -> None:
    """No command or code stands in the README unproved, and no proof is left over."""
    assert {block.proof for block in README if block.language != "text"} <= PROOFS
    elsewhere = {line for block in _marked("elsewhere") for line in block.code.splitlines()}
    assert elsewhere == set(RUN_ELSEWHERE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first command makes."""
    (block,) = _marked("clone")
    command, *others = block.code.splitlines()
    assert others == ["pip install nox", "nox -s serve"]
    directory = tmp_path_factory.mktemp("fresh")
    _run(command.replace("URL", str(PROJECT)), directory)
    return directory / "serve-app"


@pytest.fixture(scope="module")
def service(clone: Path) -> Iterator[Service]:
    """What the last command of the first block starts in a fresh clone."""
    service = Service(
        [shutil.which("nox") or "nox", "-s", "serve"],
        directory=clone,
        environment={"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1"},
    )
    service.start(seconds=500)
    try:
        yield service
    finally:
        service.stop()


def _run(command: str, directory: Path, variables: Mapping[str, str] | None = None) -> str:
    return subprocess.run(
        ["bash", "-euc", command],
        cwd=directory,
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.timeout(600)
def test_requests_are_answered_as_shown(service: Service, clone: Path) -> None:
    """The curl commands get 200, and the first one the answer that stands below it."""
    answers = [json.loads(_run(block.code, clone)) for block in _marked("service")]
    (shown,) = (json.loads(block.code) for block in _marked("answer"))
    assert answers[0]["predicted_class"] == shown["predicted_class"]
    assert answers[0]["probabilities"] == pytest.approx(shown["probabilities"], abs=5e-5)
    assert [row["predicted_class"] for row in answers[1]["predictions"]] == ["setosa", "virginica"]


def test_code_and_commands_run(service: Service, clone: Path) -> None:
    """In another shell, with the environment activated, and in the order of the README."""
    (activation,) = _marked("activate")
    assert "Usage: serve-app" in _run(activation.code, clone.parent)
    activate, _help = activation.code.splitlines()[1:]
    for block in _marked("python", "shell"):
        command = block.code if block.proof == "shell" else 'python -c "$CODE"'
        _run(f"{activate}\n{command}", clone, {"CODE": block.code})


def test_the_service_runs_until_ctrl_c(service: Service) -> None:
    """It says where everything is, drains on Ctrl-C and exits with 0."""
    assert "http://localhost:8000/predict/" in service.log()
    assert "http://127.0.0.1:8265" in service.log()
    service.terminate(signal.SIGINT)
    assert service.stop() == 0, service.log()
    assert "stopped" in service.log()
