"""Package any fitted scikit-learn classifier over numeric features as a model directory."""

import argparse
import copy
import io
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from serve_app.model.artifact import ArtifactError, sha256, write_artifact
from serve_app.model.card import (
    MODEL_FILE,
    ONNX_FILE,
    Compilation,
    Feature,
    ModelCard,
    TrainingData,
)
from serve_app.model.columns import (
    PackagingError,
    as_rows,
    features_of,
    parse_feature,
    read_csv,
    refusal,
)
from serve_app.model.compiler import comparison_rows, compile_to_onnx
from serve_app.model.estimator import (
    check_columns,
    classes_of,
    first_answer,
    labels_follow,
    sample_of,
)
from serve_app.model.predictor import SklearnPredictor

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
            strings nor integers, features that do not fit the estimator, or no extra ``train``.
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
    reference = SklearnPredictor(estimator)
    probe = first_answer(reference, features)

    # How threads share a sum depends on the load, its last bits on that, the version on them.
    with threadpool_limits(limits=1):
        compared = comparison_rows(reference, features, rows)
        expected = reference.predict(compared)
        followed = labels_follow(expected, classes)
        onnx_model, compilation = compile_to_onnx(
            estimator, compared, expected, classes=classes, labels_follow=followed
        )
    files = {MODEL_FILE: _joblib_bytes(joblib, estimator)}
    if onnx_model is not None:
        files[ONNX_FILE] = onnx_model
    try:
        card = ModelCard(
            name=name,
            estimator=" ".join(repr(estimator).split()),
            features=features,
            classes=classes,
            has_probabilities=probe.probabilities is not None,
            labels_follow_probabilities=followed,
            metrics=dict(metrics or {}),
            training_data=None
            if rows is None
            else TrainingData(rows=len(rows), sha256=sha256(np.ascontiguousarray(rows).tobytes())),
            libraries=libraries,
            compilation=compilation,
            files={},
            sample=sample_of(reference, features, classes, rows),
        )
    except ValidationError as error:
        raise refusal(error) from error
    return write_artifact(directory, card, files)


def _library_versions() -> dict[str, str]:
    try:
        versions = {library: metadata.version(library) for library in RECORDED_LIBRARIES}
    except metadata.PackageNotFoundError as error:
        raise PackagingError(
            f"{error.name} is not installed; packaging needs it, serving does not: install "
            "serve-app[train]"
        ) from error
    return {"python": platform.python_version()} | versions


def _joblib_bytes(joblib: Any, estimator: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()


def summary(card: ModelCard, directory: Path) -> str:
    """What was packaged, for people."""
    compilation: Compilation = card.compilation
    return (
        f"{card.name} {card.version}: {len(card.features)} features, {len(card.classes)} classes "
        f"-> {directory}\n"
        f"engine {compilation.engine}: {compilation.reason}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m serve_app.package",
        description="Package a fitted scikit-learn classifier as a model directory.",
        epilog="The joblib file is deserialised: package only files that you trust.",
    )
    parser.add_argument("estimator", type=Path, help="file written by joblib.dump")
    parser.add_argument(
        "--features",
        nargs="+",
        metavar="NAME=MIN..MAX[:UNIT]",
        help="columns in the estimator's order, such as sepal_length=4.3..7.9:cm",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="CSV of the training rows with a header line; gives names and ranges",
    )
    parser.add_argument("--name", default="classifier", help="model name (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("model"), help="directory to write (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.features is None and options.data is None:
        parser.error("give --features, --data or both")
    try:
        card = package_model(
            _load_estimator(options.estimator),
            options.out,
            features=options.features and [parse_feature(text) for text in options.features],
            training_data=options.data and read_csv(options.data),
            name=options.name,
        )
    except (PackagingError, ArtifactError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary(card, options.out))
    return 0


def _load_estimator(path: Path) -> Any:
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:
        raise PackagingError(
            f"{path}: cannot load a fitted estimator: {type(error).__name__}: {error}"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
