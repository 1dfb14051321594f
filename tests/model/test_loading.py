"""A model that cannot run here, or answers otherwise than recorded, is not served."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.model.artifact import Artifact, ArtifactError
from serve_app.model.card import ONNX_FILE, Engine
from serve_app.model.loading import load_predictor
from serve_app.model.predictor import most_probable
from tests.support.models import Packaged, resign

SPECIES = ("setosa", "versicolor", "virginica")


@pytest.mark.parametrize(
    ("engine", "absent"),
    [("onnx", {"sklearn", "joblib", "skl2onnx"}), ("sklearn", {"onnxruntime", "skl2onnx"})],
)
def test_an_engine_loads_its_own_libraries_only(
    iris: Path, engine: Engine, absent: set[str]
) -> None:
    """ONNX is served without any unpickling library in the process; neither needs the compiler."""
    program = (
        "import sys; from pathlib import Path\n"
        "from serve_app.model.artifact import Artifact\n"
        "from serve_app.model.loading import load_predictor\n"
        f"load_predictor(Artifact.open(Path({str(iris)!r})), {engine!r})\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not absent & set(done.stdout.decode().split())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"libraries": {"onnxruntime": "1.0.0"}}, "install onnxruntime==1.0.0"),
        ({"libraries": {}}, "expected the version of onnxruntime"),
    ],
)
def test_other_library_versions_are_refused(
    iris: Path, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    """A model is run by the library versions that its answers were proved with."""
    model = Path(shutil.copytree(iris, tmp_path / "model"))
    resign(model, **fields)
    with pytest.raises(ArtifactError, match=message):
        load_predictor(Artifact.open(model))


def test_an_engine_without_a_file_is_refused(packaged: Callable[[str], Packaged]) -> None:
    """Asking for ONNX where nothing was compiled tells why, and what to set."""
    artifact = packaged("k_neighbours").artifact
    with pytest.raises(ArtifactError, match=r"no compiled form agrees.*set engine to auto or sk"):
        load_predictor(artifact, "onnx")


def test_a_file_that_is_no_model_is_refused(iris: Path, tmp_path: Path) -> None:
    """A file with the right digest and the wrong content is named, with the loader's reason."""
    model = Path(shutil.copytree(iris, tmp_path / "model"))
    (model / ONNX_FILE).write_bytes(b"not a model")
    resign(model)
    with pytest.raises(ArtifactError, match=r"model\.onnx: expected a model that engine onnx can"):
        load_predictor(Artifact.open(model))


@pytest.mark.parametrize("engine", ["onnx", "sklearn"])
@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([0.0, 0.0, 1.0], r"found \{'predicted_class': 'setosa'.*differs by up to 1\)"),
        ([0.9, 0.1, 0.0], r"found \{'predicted_class': 'setosa'.*differs by up to 0.0"),
    ],
)
def test_another_answer_than_recorded_is_refused(
    iris: Path, tmp_path: Path, engine: Engine, probabilities: list[float], message: str
) -> None:
    """A model that does not answer the card's sample as it did when packaged is not served."""
    model = Path(shutil.copytree(iris, tmp_path / "model"))
    card = Artifact.open(model).card
    answer = card.task.answers(most_probable(np.array([probabilities]), SPECIES))[0]
    resign(model, sample=card.sample.model_copy(update={"answer": answer}))
    with pytest.raises(ArtifactError, match=message):
        load_predictor(Artifact.open(model), engine)
