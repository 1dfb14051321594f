"""A model that cannot run here, or answers otherwise than recorded, is not served."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from serve_app.model.artifact import EXTRAS, Artifact, ArtifactError
from serve_app.model.card import MODEL_FILE, ONNX_FILE, Engine
from serve_app.model.description import describe_card
from serve_app.model.features import Feature
from serve_app.model.loading import load_predictor
from serve_app.model.predictor import most_probable
from serve_app.model.tasks import Classification, Regression
from tests.support.models import Packaged, resign
from tests.support.tables import Model

PANDAS = {"pandas": metadata.version("pandas")}
SPECIES = ("setosa", "versicolor", "virginica")


@pytest.mark.parametrize(
    ("engine", "absent"),
    [("onnx", {"sklearn", "joblib", "onnx"}), ("sklearn", {"onnxruntime", "onnx"})],
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
    with pytest.raises(
        ArtifactError, match=r"no compiled form of KNeigh.*set engine to auto or sk"
    ):
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


INSTALLED = {name: metadata.version(name) for name in ("scikit-learn", "numpy")}


@pytest.mark.parametrize(
    ("libraries", "message"),
    [
        (
            {"no-booster": "1.2.10"},
            r"no-booster 1\.2\.10, which this model needs, found no .*install serve-app\[boost\]",
        ),
        ({"pandas": "1.0.0"}, r"expected pandas 1\.0\.0 \(packaged with\).*pandas==1\.0\.0"),
    ],
)
def test_libraries_of_the_estimator_are_checked(
    mixed: Model,
    tmp_path: Path,
    libraries: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A DataFrame needs pandas, a boosted model its own library: a missing one names the extra."""
    # Whatever is installed here, this one is not.
    monkeypatch.setitem(EXTRAS, "no-booster", "boost")
    artifact = mixed.write(tmp_path / "model", libraries=INSTALLED | PANDAS | libraries)
    with pytest.raises(ArtifactError, match=message):
        load_predictor(artifact)


def test_an_estimator_that_takes_arrays_needs_no_pandas(tmp_path: Path) -> None:
    """Whatever version of it packaged the model."""
    artifact = numbers_model().write(tmp_path / "model", libraries={**INSTALLED, "pandas": "1.0.0"})
    assert load_predictor(artifact).engine == "sklearn"


def test_an_estimator_fitted_by_another_version_is_served_by_the_one_that_recorded_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scikit-learn's warning is for packaging; here the sample's answer is the verdict."""
    monkeypatch.setattr("sklearn.base.__version__", "1.0.2")
    artifact = numbers_model().write(tmp_path / "model", fitted_with="1.0.2")
    monkeypatch.undo()
    assert load_predictor(artifact).engine == "sklearn"
    assert "fitted with   scikit-learn 1.0.2" in describe_card(artifact.card)


def test_a_module_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """An estimator with code of its own needs that code here."""
    artifact = numbers_model().write(tmp_path / "model")
    content = b"cnowhere.to_be_found\nEstimator\n."
    (artifact.directory / MODEL_FILE).write_bytes(content)
    resign(artifact.directory)
    with pytest.raises(ArtifactError, match="fix: install the package of module nowhere here"):
        load_predictor(Artifact.open(artifact.directory))


@pytest.mark.parametrize(
    "change", [{"prediction": 0.5}, {"prediction": 1e-13}, {"prediction": -1e-3}]
)
def test_a_regression_answers_its_sample_within_tolerance(
    tmp_path: Path, change: dict[str, float]
) -> None:
    """A sample of 0 leaves room for rounding and for nothing else."""
    model = Model(
        Ridge().fit([[0.0], [1.0]], [0.0, 0.0]),
        Regression(targets=("price",)),
        (Feature(name="x", minimum=0, maximum=1),),
        {"x": 1},
    )
    artifact = model.write(tmp_path / "model")
    resign(artifact.directory, sample=artifact.card.sample.model_copy(update={"answer": change}))
    changed = Artifact.open(artifact.directory)
    if abs(change["prediction"]) < 1e-12:
        load_predictor(changed)
        return
    with pytest.raises(ArtifactError, match="expected the recorded answer"):
        load_predictor(changed)


def numbers_model() -> Model:
    task = Classification(classes=(0, 1), has_probabilities=True, labels_follow_probabilities=True)
    estimator = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    return Model(estimator, task, (Feature(name="x", minimum=0, maximum=1),), {"x": 0.25})
