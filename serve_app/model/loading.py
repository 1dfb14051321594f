"""A verified model directory -> a model that answers its own sample as recorded."""

import io

import numpy as np

from serve_app.model.artifact import CARD_FILE, Artifact, ArtifactError
from serve_app.model.card import MODEL_FILE, ONNX_FILE, Engine, ModelCard
from serve_app.model.predictor import (
    DEFAULT_TOLERANCE,
    OnnxPredictor,
    Prediction,
    Predictor,
    Rows,
    SklearnPredictor,
)

ENGINE_LIBRARIES: dict[Engine, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "sklearn": ("scikit-learn", "numpy"),
}


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
    artifact.require_libraries(ENGINE_LIBRARIES[engine])
    content = artifact.read(filename)
    try:
        predictor = _deserialise(engine, content, artifact.card)
        prediction = predictor.predict(sample_rows(artifact.card))
    except Exception as error:
        raise ArtifactError(
            artifact.directory / filename,
            expected=f"a model that engine {engine} can run",
            found=f"{type(error).__name__}: {error}",
        ) from error
    _check_sample(artifact, prediction)
    return predictor


def sample_rows(card: ModelCard) -> Rows:
    """The card's sample as rows, shape [1, features]."""
    return np.array([list(card.example.values())])


def _deserialise(engine: Engine, content: bytes, card: ModelCard) -> Predictor:
    if engine == "sklearn":
        import joblib

        return SklearnPredictor(
            joblib.load(io.BytesIO(content)),
            labels_follow_probabilities=card.labels_follow_probabilities,
        )
    agreement = card.compilation.agreement
    return OnnxPredictor(
        content,
        precision=agreement.precision if agreement else "float32",
        classes=card.classes,
    )


def _check_sample(artifact: Artifact, prediction: Prediction) -> None:
    sample = artifact.card.sample
    path = artifact.directory / CARD_FILE
    label = prediction.labels[0]
    if label != sample.predicted_class:
        raise ArtifactError(
            path,
            expected=f"class {sample.predicted_class!r} for the card's sample",
            found=f"class {label!r}",
        )
    if sample.probabilities is None or prediction.probabilities is None:
        return
    recorded = sample.probabilities.values()
    difference = max(
        abs(found - expected)
        for found, expected in zip(prediction.probabilities[0], recorded, strict=True)
    )
    if difference > DEFAULT_TOLERANCE:
        raise ArtifactError(
            path,
            expected=f"the recorded probabilities of the sample within {DEFAULT_TOLERANCE}",
            found=f"a difference of {difference:.3g}",
        )
