"""The built wheel is all that a user needs: everything works in an empty directory."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serve_app.runtime.ports import free_port
from tests.support.service import PROJECT, Service

FIT = """\
import joblib
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

wine = load_wine(as_frame=True)
wine.data.to_csv("rows.csv", index=False)
joblib.dump(RandomForestClassifier(random_state=0).fit(wine.data, wine.target), "fitted.joblib")
"""


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, and the empty directory in which it is used."""

    bin: Path
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the clone, and no other program than the environment's and the system's."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return {**kept, "PATH": f"{self.bin}:/usr/bin:/bin", "RAY_USAGE_STATS_ENABLED": "0"}

    def run(self, *command: str) -> str:
        """Run a command in the directory; returns its output."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with all extras in an environment of its own, at the locked versions."""
    made = tmp_path_factory.mktemp("wheel")
    clone, environment, directory = made / "clone", made / "environment", made / "empty"
    directory.mkdir()
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(build, check=True, cwd=clone, capture_output=True)
    (wheel,) = made.glob("*.whl")
    # pip would ask for a hash of the wheel, too.
    lock = (PROJECT / "locks" / "all.txt").read_text(encoding="utf-8")
    versions = made / "versions.txt"
    versions.write_text(re.sub(r" \\\n(    --hash=\S+( \\)?\n)+", "\n", lock), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "virtualenv", "-q", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    if uv := shutil.which("uv"):
        pip = [uv, "pip", "install", "--quiet", f"--python={environment / 'bin' / 'python'}"]
    subprocess.run([*pip, f"{wheel}[all]", "--constraint", str(versions)], check=True)
    return Installed(environment / "bin", directory)


@pytest.fixture(scope="module")
def service(installed: Installed) -> Iterator[Service]:
    """``serve-app serve`` of a trained model, with the packaged Serve config."""
    installed.run("serve-app", "train")
    port = free_port()
    command = [str(installed.bin / "serve-app"), "serve", "--no-dashboard", "--port", str(port)]
    service = Service(
        ["env", "-i", *(f"{k}={v}" for k, v in installed.environment.items()), *command],
        directory=installed.directory,
        port=port,
    )
    service.start()
    try:
        yield service
    finally:
        service.stop()


@pytest.mark.timeout(900)
def test_nothing_of_the_clone_is_used(installed: Installed) -> None:
    """The package comes from the environment, and its version from the build."""
    where = "import serve_app, loadtest, deploy; print(serve_app.__file__, loadtest.__file__)"
    assert all(
        path.startswith(str(installed.bin.parent))
        for path in installed.run("python", "-c", where).split()
    )
    assert re.match(r"serve-app \d+\.\d+", installed.run("serve-app", "--version"))


def test_a_model_is_packaged_and_described(installed: Installed) -> None:
    """An estimator that was fitted on a DataFrame becomes a model directory."""
    (installed.directory / "fit.py").write_text(FIT, encoding="utf-8")
    installed.run("python", "fit.py")
    packaged = installed.run(
        *("serve-app", "package", "fitted.joblib", "--data", "rows.csv"),
        *("--name", "wine", "--out", "wine"),
    )
    assert re.search(r"engine +onnx", packaged)
    card = json.loads(installed.run("serve-app", "describe", "wine", "--json"))
    assert card["name"] == "wine"
    assert card["task"]["classes"] == [0, 1, 2]


@pytest.mark.timeout(600)
def test_a_trained_model_is_served_and_loaded(installed: Installed, service: Service) -> None:
    """Enough answers come, and each has the class that the model in the directory gives."""
    installed.run(
        *("serve-app", "load", "baseline", "--host", service.url, "--users", "5"),
        *("--seconds", "5", "--min-rps", "1"),
    )


def test_a_deployment_can_start_from_it(installed: Installed) -> None:
    """Config, Dockerfile and manifests are written, and rendered for an image."""
    installed.run("serve-app", "init")
    image = f"registry.invalid/me/wine@sha256:{'1' * 64}"
    installed.run("serve-app", "k8s", "render", "--image", image)
    release = installed.directory / "kuberay" / "release" / "kustomization.yaml"
    assert "1" * 64 in release.read_text(encoding="utf-8")


def test_capacity_and_a_day_are_planned(installed: Installed) -> None:
    """The plan and the simulation need no clone either."""
    simulated = installed.run(
        *("serve-app", "simulate", "--trace", "spike", "--peak-rps", "10000"),
        *("--replica-rps", "2000"),
    )
    assert "replica-hours" in simulated
    assert "--curve" in installed.run("serve-app", "plan", "--help")
