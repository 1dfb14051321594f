"""Package any fitted scikit-learn classifier over numeric features as a model directory."""

import copy
import io
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from serve_app.errors import first_error
from serve_app.model.artifact import sha256, write_artifact
from serve_app.model.card import (
    MODEL_FILE,
    ONNX_FILE,
    ModelCard,
    TrainingData,
)
from serve_app.model.features import Feature
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import Classification
from serve_app.packaging.columns import (
    PackagingError,
    as_rows,
    features_of,
)
from serve_app.packaging.compiler import compile_to_onnx
from serve_app.packaging.estimator import (
    check_columns,
    classes_of,
    first_answer,
    labels_follow,
    sample_of,
)
from serve_app.packaging.proof import comparison_rows

RECORDED_LIBRARIES = ("scikit-learn", "numpy", "joblib", "onnxruntime", "skl2onnx")


def package_model(
    estimator: Any,
    directory: Path,
    *,
    features: Sequence[Feature] | None = None,
    training_data: Any = None,
    name: str = "classifier",
    metrics: Mapping[str, float] | None = None,
) -> ModelCard:
    """Write ``estimator`` as a model directory that the service can load.

    Args:
        estimator: fitted classifier, or pipeline that ends in one, over numeric columns.
        directory: written whole; an existing model there is replaced.
        features: name, unit and range of each column; taken from ``training_data`` if None.
        training_data: the rows that the estimator was fitted on: a DataFrame, or an array of
            shape [rows, features]. Sharpens the comparison of the compiled form; needed unless
            ``features`` is given.
        name: model name, shown to clients and in spans.
        metrics: what is known of its quality, such as ``{"test_accuracy": 0.95}``.

    Returns:
        The card as written.

    Raises:
        PackagingError: not a fitted classifier over numeric columns, labels that are neither
            strings nor integers, features that do not fit the estimator, or no extra ``package``.
        ArtifactError: ``directory`` holds something else than a model, or cannot be written.
    """
    import joblib

    libraries = _library_versions()
    rows = None if training_data is None else as_rows(training_data)
    if features is None:
        features = features_of(training_data)
    features = tuple(features)
    classes = classes_of(estimator)
    check_columns(estimator, features, rows)

    # The predictor sets n_jobs; the caller's estimator stays as it is.
    estimator = copy.deepcopy(estimator)
    task = Classification(
        classes=classes,
        has_probabilities=hasattr(estimator, "predict_proba"),
        labels_follow_probabilities=False,
    )
    reference = SklearnPredictor(estimator, task, features)
    first_answer(reference, features)

    # Threaded sums differ in the last bits; one thread keeps the version stable.
    with threadpool_limits(limits=1):
        compared = comparison_rows(reference, features, rows)
        expected = reference.predict(compared)
        followed = labels_follow(expected, classes)
        task = task.model_copy(update={"labels_follow_probabilities": followed})
        onnx_model, compilation = compile_to_onnx(
            estimator, compared, expected, features=features, task=task
        )
    files = {MODEL_FILE: _joblib_bytes(joblib, estimator)}
    if onnx_model is not None:
        files[ONNX_FILE] = onnx_model
    try:
        card = ModelCard(
            name=name,
            estimator=" ".join(repr(estimator).split()),
            features=features,
            task=task,
            metrics=dict(metrics or {}),
            training_data=None
            if rows is None
            else TrainingData(rows=len(rows), sha256=sha256(np.ascontiguousarray(rows).tobytes())),
            libraries=libraries,
            compilation=compilation,
            files={},
            sample=sample_of(reference, features, task, rows),
        )
    except ValidationError as error:
        raise PackagingError(first_error(error)) from error
    return write_artifact(directory, card, files)


def _library_versions() -> dict[str, str]:
    try:
        versions = {library: metadata.version(library) for library in RECORDED_LIBRARIES}
    except metadata.PackageNotFoundError as error:
        raise PackagingError(
            f"{error.name} is not installed; packaging needs it, serving does not: install "
            "serve-app[package]"
        ) from error
    return {"python": platform.python_version()} | versions


def _joblib_bytes(joblib: Any, estimator: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()


def summary(card: ModelCard, directory: Path) -> str:
    """What was packaged, in two lines."""
    compilation = card.compilation
    return (
        f"{card.name} {card.version}: {card.task.noun} of {len(card.features)} features "
        f"-> {directory}\n"
        f"engine {compilation.engine}: {compilation.reason}"
    )


def load_estimator(path: Path) -> Any:
    """The estimator in a file that ``joblib.dump`` wrote; the file is deserialised.

    Raises:
        PackagingError: the file cannot be read or deserialised.
    """
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:
        raise PackagingError(
            f"{path}: cannot load a fitted estimator: {type(error).__name__}: {error}"
        ) from error
