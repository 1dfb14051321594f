"""Both engines answer as the estimator does, and a model that does not is not served."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.artifact import Artifact, ArtifactError
from serve_app.card import ONNX_FILE, Engine
from serve_app.predictor import (
    DEFAULT_TOLERANCE,
    NotFiniteError,
    Prediction,
    SklearnPredictor,
    load_predictor,
    most_probable,
    sample_rows,
)
from tests.support.models import ESTIMATORS, WITHOUT_PROBABILITIES, Packaged, difference
from tests.test_artifact import resign


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("engine", [None, "sklearn"])
def test_answers_are_the_estimators(
    packaged: Callable[[str], Packaged], name: str, engine: Engine | None
) -> None:
    """Labels and probabilities equal scikit-learn's, with the card's engine and the other."""
    fitted, artifact = packaged(name).fitted, packaged(name).artifact
    found = load_predictor(artifact, engine).predict(fitted.rows)
    assert found.labels == fitted.estimator.predict(fitted.rows).tolist()
    if name in WITHOUT_PROBABILITIES:
        assert found.probabilities is None
    else:
        expected = fitted.estimator.predict_proba(fitted.rows).tolist()
        assert difference(found, Prediction(found.labels, expected)) <= DEFAULT_TOLERANCE


@pytest.mark.parametrize("name", ESTIMATORS)
def test_answers_are_plain_python(packaged: Callable[[str], Packaged], name: str) -> None:
    """Labels are of the card's type and probabilities are floats, so that JSON carries them."""
    artifact = packaged(name).artifact
    found = load_predictor(artifact).predict(sample_rows(artifact.card))
    assert found.labels[0] in artifact.card.classes
    assert type(found.labels[0]) in {str, int}
    for probability in (found.probabilities or [[]])[0]:
        assert type(probability) is float


@pytest.mark.parametrize("engine", ["onnx", "sklearn"])
def test_a_batch_equals_its_rows_one_by_one(iris_forest: Path, engine: Engine) -> None:
    """How many rows share a model call has no influence on their answers."""
    predictor = load_predictor(Artifact.open(iris_forest), engine)
    rows = np.random.default_rng(1).uniform(0, 8, size=(50, 4))
    together = predictor.predict(rows)
    alone = [predictor.predict(row[np.newaxis]) for row in rows]
    assert together.labels == [one.labels[0] for one in alone]
    probabilities = [(one.probabilities or [])[0] for one in alone]
    assert difference(together, Prediction(together.labels, probabilities)) <= 1e-6


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
        "from serve_app.artifact import Artifact\n"
        "from serve_app.predictor import load_predictor\n"
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
    ("change", "message"),
    [
        (lambda sample: {"predicted_class": "virginica"}, "class 'virginica' for the card's"),
        (
            lambda sample: {
                "probabilities": dict(
                    zip(sample.probabilities, reversed(sample.probabilities.values()), strict=True)
                )
            },
            "found a difference of",
        ),
    ],
)
def test_another_answer_than_recorded_is_refused(
    iris: Path, tmp_path: Path, engine: Engine, change: Callable[[Any], Any], message: str
) -> None:
    """A model that does not answer the card's sample as it did when packaged is not served."""
    model = Path(shutil.copytree(iris, tmp_path / "model"))
    sample = Artifact.open(model).card.sample
    resign(model, sample=sample.model_copy(update=change(sample)))
    with pytest.raises(ArtifactError, match=message):
        load_predictor(Artifact.open(model), engine)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("rows", "row"), [(1, 0), (3, 0), (3, 2)])
def test_probabilities_that_are_not_finite_are_an_error(value: float, rows: int, row: int) -> None:
    """An overflow inside the model is reported with the position of the row."""
    probabilities = np.full((rows, 2), 0.5)
    probabilities[row, 1] = value
    with pytest.raises(NotFiniteError) as error:
        most_probable(probabilities, ["a", "b"])
    assert error.value.row == row


@pytest.mark.parametrize("rows", [1, 2])
def test_the_first_of_equally_probable_classes_wins(rows: int) -> None:
    """Ties are broken as scikit-learn breaks them, alone and in a batch."""
    assert most_probable(np.full((rows, 3), 1 / 3), ["a", "b", "c"]).labels == ["a"] * rows


def test_labels_need_not_be_the_most_probable_class() -> None:
    """An estimator whose predict disagrees with its probabilities is believed on both."""

    class Contrary:
        classes_ = np.array([0, 1])

        def predict(self, rows: Any) -> Any:
            return np.ones(len(rows), dtype=int)

        def predict_proba(self, rows: Any) -> Any:
            return np.tile([0.9, 0.1], (len(rows), 1))

    found = SklearnPredictor(Contrary()).predict(np.zeros((2, 1)))
    assert found.labels == [1, 1]
    assert found.probabilities == [[0.9, 0.1], [0.9, 0.1]]
