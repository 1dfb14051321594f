"""What the README tells people to type works, and shows what it says."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.readme import Block, blocks
from tests.support.service import PROJECT, Service

README = blocks(PROJECT / "README.md")
RUN_ELSEWHERE = {
    "nox -s tests": "this very run",
    "nox -s scale": "test_scale, cut short",
    "docker build -t serve-app .": "tests/test_image.py reads the Dockerfile; CI builds it",
    "docker run --rm -p 8000:8000 --stop-timeout 30 --read-only --tmpfs /tmp serve-app": "CI",
    "locust -f loadtest/locustfile.py --host http://localhost:8000": "test_load, the web UI",
    "locust -f loadtest/locustfile.py --host http://localhost:8000 --headless --scenario spike": (
        "test_load"
    ),
    "locust -f loadtest/locustfile.py --host http://localhost:8000 --headless --processes 2 "
    "--scenario open-loop --max-p99-ms 200 --min-rps 90": "test_load",
    "kubectl -n serve-app port-forward service/classifier-public 8000:80 &": "needs a cluster",
    "kubectl -n serve-app port-forward service/classifier-head-svc 8265 &": "needs a cluster",
    "export RAY_AUTH_TOKEN=$(kubectl -n serve-app get secret ray-auth "
    "-o jsonpath='{.data.auth_token}' | base64 -d)": "needs a cluster",
    "serve-app scale --serve-url http://localhost:8000 --dashboard-url "
    "http://localhost:8265 --namespace serve-app": "tests/loadtest/test_scale_remote.py",
    "nox -s bench": "tests/test_bench.py, and too long for the test suite",
    "nox -s serve -- model_dir=wine": "test_two_commands_in_a_fresh_clone, with another model",
    "serve run serve_config.yaml": "test_lifecycle, development mode",
    "serve run serve_app.deployment:build_app model_dir=model max_rows=500": "test_lifecycle",
    "serve-app gke setup --project PROJECT --region REGION --repository OWNER/NAME "
    "--dry-run": "tests/kuberay/test_gke_setup.py",
    "serve-app k8s render --image NAME@sha256:DIGEST": "tests/kuberay/test_render.py",
    "kubectl apply -k kuberay/overlays/gke": "tests/kuberay/test_schemas.py, without a cluster",
    "serve-app k8s rollout wait": "tests/kuberay/test_rollout.py",
}


def _marked(proof: str) -> list[Block]:
    return [block for block in README if block.proof == proof]


def test_every_block_says_how_it_is_proved() -> None:
    """No command or code stands in the README unproved."""
    for block in README:
        if block.language != "text":
            assert block.proof in {"clone", "service", "answer", "python", "shell", "elsewhere"}
    for block in _marked("elsewhere"):
        for command in block.code.splitlines():
            assert command in RUN_ELSEWHERE, f"{command}: who runs it?"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """What the README's two commands make of a fresh clone."""
    (block,) = _marked("clone")
    assert block.code.splitlines() == ["pip install nox", "nox -s serve"]
    clone = tmp_path_factory.mktemp("fresh") / "clone"
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
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


@pytest.mark.timeout(600)
def test_requests_are_answered_as_shown(service: Service) -> None:
    """The curl commands get 200, and the first one the answer that stands below it."""
    answers = []
    for block in _marked("service"):
        command = block.code.replace("http://localhost:8000", service.url)
        answer = subprocess.check_output(["bash", "-euc", command], text=True, timeout=30)
        answers.append(json.loads(answer))
    (shown,) = (json.loads(block.code) for block in _marked("answer"))
    assert answers[0]["predicted_class"] == shown["predicted_class"]
    assert answers[0]["probabilities"] == pytest.approx(shown["probabilities"], abs=5e-5)
    assert [row["predicted_class"] for row in answers[1]["predictions"]] == ["setosa", "virginica"]


def test_code_and_commands_run(tmp_path: Path) -> None:
    """Python blocks and commands that need no service run as they stand."""
    for block in _marked("python"):
        subprocess.run([sys.executable, "-c", block.code], cwd=tmp_path, check=True, timeout=120)
    for block in _marked("shell"):
        subprocess.run(["bash", "-euc", block.code], cwd=PROJECT, check=True, timeout=60)


def test_two_commands_serve_until_ctrl_c(service: Service) -> None:
    """They train, say where everything is, drain on Ctrl-C and exit with 0."""
    assert "http://localhost:8000/predict/" in service.log
    assert "http://127.0.0.1:8265" in service.log
    service.terminate(signal.SIGINT)
    assert service.stop() == 0, service.log
    assert "stopped" in service.log
