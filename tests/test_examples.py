"""The examples run as they are, and what they write can be served."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import examples
from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor

NAMES = sorted({each.name for each in pkgutil.iter_modules(examples.__path__)} - {"command_line"})


def test_the_examples_are_listed() -> None:
    """A newcomer finds each in one place."""
    listed = {line.partition(" ")[0] for line in (examples.__doc__ or "").splitlines()}
    assert listed.issuperset(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_ends_in_a_compiled_model(name: str, tmp_path: Path) -> None:
    """Its summary is printed, and the model answers the sample of its card."""
    command = [sys.executable, "-m", f"examples.{name}", str(tmp_path / "model")]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    artifact = Artifact.open(tmp_path / "model")
    assert f"{artifact.card.name} {artifact.card.version} -> " in done.stdout
    assert artifact.card.compilation.engine == "onnx", artifact.card.compilation.reason
    assert load_predictor(artifact).engine == "onnx"
    assert importlib.import_module(f"examples.{name}").__doc__
