"""A verified model directory -> a model that answers its own sample as recorded."""

import io
import warnings

from serve_app.model.artifact import CARD_FILE, EXTRAS, REPACKAGE, Artifact, ArtifactError
from serve_app.model.card import MODEL_FILE, ONNX_FILE, Engine, ModelCard
from serve_app.model.comparison import Tolerances
from serve_app.model.instances import instance_adapter
from serve_app.model.onnx_predictor import OnnxPredictor
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Predictor, Rows, rows_of
from serve_app.model.sklearn_predictor import SklearnPredictor

SMALLEST_TOLERANCE = 1e-12
"""Absolute difference of a sample's number that is always rounding, also where 0 was recorded."""


def load_predictor(artifact: Artifact, engine: Engine | None = None) -> Predictor:
    """Load the model of a verified directory and check that it answers the card's sample.

    Args:
        artifact: the verified model directory.
        engine: overrides the card's choice; None follows it.

    Raises:
        ArtifactError: another library version than the model was packaged with, no compiled form
            for engine ``onnx``, a file that cannot be deserialised, or another answer to the
            card's sample than recorded.
    """
    engine = engine or artifact.card.compilation.engine
    filename = ONNX_FILE if engine == "onnx" else MODEL_FILE
    if filename not in artifact.card.files:
        raise ArtifactError(
            artifact.directory / filename,
            expected=f"a file for engine {engine}",
            found=f"none in the card ({artifact.card.compilation.reason})",
            fix=f"set engine to auto or {artifact.card.compilation.engine}",
        )
    artifact.require_libraries(libraries_of(engine, artifact.card))
    content = artifact.read(filename)
    try:
        predictor = _deserialise(engine, content, artifact.card)
        prediction = predictor.predict(sample_rows(artifact.card))
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        raise ArtifactError(
            artifact.directory / filename,
            expected=f"a model that engine {engine} can run",
            found=f"{type(error).__name__}: {error}",
            fix=f"install the package of module {missing} here" if missing else REPACKAGE,
        ) from error
    _check_sample(artifact, prediction)
    return predictor


def libraries_of(engine: Engine, card: ModelCard) -> tuple[str, ...]:
    """Libraries that ``engine`` needs to serve ``card``, as package names."""
    if engine == "onnx":
        return ("onnxruntime",)
    # Packaging records pandas in any case, the others only if the estimator needs them.
    unused = set() if card.estimator_input == "frame" else {"pandas"}
    return ("scikit-learn", "numpy", *(n for n in EXTRAS if n in {*card.libraries} - unused))


def sample_rows(card: ModelCard) -> Rows:
    """The card's sample as rows, shape [1, features]."""
    values = instance_adapter(card.features).validate_python(card.sample.instance)
    return rows_of(card.features, [list(values.values())])


def _deserialise(engine: Engine, content: bytes, card: ModelCard) -> Predictor:
    if engine == "sklearn":
        return SklearnPredictor(_unpickle(content), card.task, card.features, card.estimator_input)
    agreement = card.compilation.agreement
    return OnnxPredictor(
        content,
        precision=agreement.precision if agreement else "float32",
        features=card.features,
        task=card.task,
    )


def _unpickle(content: bytes) -> object:
    import joblib
    from sklearn.exceptions import InconsistentVersionWarning

    with warnings.catch_warnings():
        # The card's answers were recorded with the libraries that are installed here, whatever
        # fitted the estimator; its sample is asked next.
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        return joblib.load(io.BytesIO(content))


def _check_sample(artifact: Artifact, prediction: Prediction) -> None:
    card = artifact.card
    expected = card.task.prediction_of(card.sample.answer)
    agreement = card.compilation.agreement
    absolute, relative = agreement.tolerances if agreement else card.task.tolerances(expected)
    tolerances = Tolerances(max(absolute, SMALLEST_TOLERANCE), relative)
    comparison = card.task.compare(prediction, expected, tolerances)
    if comparison.disagreements:
        raise ArtifactError(
            artifact.directory / CARD_FILE,
            expected=f"the recorded answer to the card's sample, {card.sample.answer}",
            found=f"{card.task.answers(prediction)[0]} "
            f"(differs by up to {comparison.largest_difference:.3g})",
        )
