"""Rows in, classes and probabilities out. Knows nothing of HTTP or Ray."""

import functools
import io
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.artifact import CARD_FILE, Artifact, ArtifactError
from serve_app.card import MODEL_FILE, ONNX_FILE, Engine, Label, ModelCard, Precision

Rows = NDArray[np.float64]
"""Feature values, shape [rows, features], in the order of the card."""

ENGINE_LIBRARIES: dict[Engine, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "sklearn": ("scikit-learn", "numpy"),
}

LABELS_OUTPUT = "label"
PROBABILITIES_OUTPUT = "probabilities"

DEFAULT_TOLERANCE = 1e-5
"""Largest probability difference at which two forms of a model count as one.

Single precision keeps 24 bits (6e-8); a sum over some hundred trees or classes loses two decimal
digits of it, so 1e-5 separates rounding from another decision."""


class Prediction(NamedTuple):
    """What a model says about rows."""

    labels: list[Label]
    """Predicted class of each row."""
    probabilities: list[list[float]] | None
    """Finite probability of each class for each row, in the order of the card's classes; None for
    a classifier without ``predict_proba``."""


class NotFiniteError(ValueError):
    """The model has no finite probability for a row; ``row`` is its position."""

    def __init__(self, row: int) -> None:
        super().__init__(f"no finite probability for row {row}")
        self.row = row


class Predictor(Protocol):
    """A loaded model."""

    engine: Engine

    def predict(self, rows: Rows) -> Prediction:
        """Predict ``rows``: finite values, shape [rows, features], at least one row.

        Raises:
            NotFiniteError: the model overflows on a row.
        """
        ...


class OnnxPredictor:
    """A compiled model in ONNX Runtime: one thread, synchronous, no pickle; not thread-safe."""

    engine: Engine = "onnx"

    def __init__(self, model: bytes, *, precision: Precision, classes: Sequence[Label]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # One replica is one CPU: a thread pool only adds hand-overs, and spinning steals the CPU.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Tensors of a few hundred bytes: managing an arena costs more than malloc.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        self._run = session.run
        self._input = session.get_inputs()[0].name
        self._outputs = outputs
        self._has_labels = LABELS_OUTPUT in outputs
        self._has_probabilities = PROBABILITIES_OUTPUT in outputs
        self._dtype = np.dtype(precision)
        self._classes = tuple(classes)
        if not self._has_labels:
            self._bind_one_row(session)

    def _bind_one_row(self, session: Any) -> None:
        # Tensors that are made once and used again halve the time of a single prediction.
        from onnxruntime import OrtValue

        (rows,) = session.get_inputs()
        self._row = np.zeros((1, rows.shape[1]), self._dtype)
        self._row_probabilities = np.zeros((1, len(self._classes)), self._dtype)
        binding = session.io_binding()
        binding.bind_ortvalue_input(self._input, OrtValue.ortvalue_from_numpy(self._row))
        binding.bind_ortvalue_output(
            PROBABILITIES_OUTPUT, OrtValue.ortvalue_from_numpy(self._row_probabilities)
        )
        self._run_one_row = functools.partial(session.run_with_iobinding, binding)

    def predict(self, rows: Rows) -> Prediction:
        """See `Predictor.predict`."""
        if not self._has_labels:
            return most_probable(self._predict_probabilities(rows), self._classes)
        found = self._run(self._outputs, {self._input: rows.astype(self._dtype)})
        if not self._has_probabilities:
            return Prediction(found[0].tolist(), None)
        return Prediction(found[0].tolist(), finite(found[1]))

    def _predict_probabilities(self, rows: Rows) -> Any:
        if len(rows) > 1:
            return self._run(self._outputs, {self._input: rows.astype(self._dtype)})[0]
        self._row[:] = rows
        self._run_one_row()
        return self._row_probabilities


class SklearnPredictor:
    """A fitted scikit-learn classifier, or pipeline that ends in one."""

    engine: Engine = "sklearn"

    def __init__(self, estimator: Any, *, labels_follow_probabilities: bool = False) -> None:
        """Take a fitted estimator.

        Args:
            estimator: has ``predict``, ``classes_`` and perhaps ``predict_proba``.
            labels_follow_probabilities: packaging has proved that ``predict`` is the most probable
                class, so one model call answers both questions.
        """
        import sklearn

        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        if hasattr(estimator, "get_params"):
            nested_jobs = [name for name in estimator.get_params() if name.endswith("n_jobs")]
            estimator.set_params(**dict.fromkeys(nested_jobs, 1))
        self._estimator = estimator
        self._config_context = sklearn.config_context
        self._has_probabilities = hasattr(estimator, "predict_proba")
        self._labels_follow_probabilities = labels_follow_probabilities
        self._classes = tuple(np.asarray(estimator.classes_).tolist())

    def predict(self, rows: Rows) -> Prediction:
        """See `Predictor.predict`."""
        # The request schema has already rejected NaN and infinity.
        with self._config_context(assume_finite=True, skip_parameter_validation=True):
            if not self._has_probabilities:
                return Prediction(self._estimator.predict(rows).tolist(), None)
            probabilities = self._estimator.predict_proba(rows)
            if self._labels_follow_probabilities:
                return most_probable(probabilities, self._classes)
            return Prediction(self._estimator.predict(rows).tolist(), finite(probabilities))


def most_probable(probabilities: Any, classes: Sequence[Label]) -> Prediction:
    """Prediction whose labels are the most probable classes; the first of equals, as argmax."""
    rows = finite(probabilities)
    if len(rows) == 1:
        row = rows[0]
        return Prediction([classes[row.index(max(row))]], rows)
    return Prediction([classes[index] for index in probabilities.argmax(axis=1).tolist()], rows)


def finite(probabilities: Any) -> list[list[float]]:
    """An array of shape [rows, classes] as lists.

    Raises:
        NotFiniteError: a value is NaN or infinite.
    """
    rows: list[list[float]] = probabilities.tolist()
    total = sum(rows[0]) if len(rows) == 1 else float(probabilities.sum())
    if not math.isfinite(total):
        raise NotFiniteError(int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0]))
    return rows


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
    return np.array([[card.sample.instance[name] for name in card.feature_names]])


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
