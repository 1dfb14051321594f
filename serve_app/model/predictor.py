"""Rows in, classes and probabilities out. Knows nothing of HTTP or Ray."""

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.model.card import Engine, Label, Precision

Rows = NDArray[np.float64]
"""Feature values, shape [rows, features], in the order of the card."""

LABEL_TENSORS = ("tensor(string)", "tensor(int64)")
PROBABILITY_TENSORS = {"tensor(float)": np.float32, "tensor(double)": np.float64}

DEFAULT_TOLERANCE = 1e-5
"""Largest probability difference at which two forms of a model count as one.

Single precision keeps 24 bits (6e-8); a sum over some hundred trees or classes loses two decimal
digits of it, so 1e-5 separates rounding from another decision."""


class Prediction(NamedTuple):
    """Answer of a model to some rows."""

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
        # A replica has one CPU: a thread pool would add context switches and busy waiting.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # For tensors of a few hundred bytes an arena costs more than malloc.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        outputs = session.get_outputs()
        # By type, because the names of the outputs depend on the compiler.
        labels = [output.name for output in outputs if output.type in LABEL_TENSORS]
        probabilities = [output.name for output in outputs if output.type in PROBABILITY_TENSORS]
        self._run = session.run
        self._input = session.get_inputs()[0].name
        self._outputs = [*labels, *probabilities]
        self._has_labels = bool(labels)
        self._has_probabilities = bool(probabilities)
        self._dtype = np.dtype(precision)
        self._classes = tuple(classes)
        if not self._has_labels:
            self._bind_one_row(session)

    def _bind_one_row(self, session: Any) -> None:
        # Reusing the same tensors halves the time of a single prediction.
        from onnxruntime import OrtValue

        (rows,), (probabilities,) = session.get_inputs(), session.get_outputs()
        self._row = np.zeros((1, rows.shape[1]), self._dtype)
        # Trees answer in single precision, also for double precision input.
        self._row_probabilities = np.zeros(
            (1, len(self._classes)), PROBABILITY_TENSORS[probabilities.type]
        )
        binding = session.io_binding()
        binding.bind_ortvalue_input(self._input, OrtValue.ortvalue_from_numpy(self._row))
        binding.bind_ortvalue_output(
            probabilities.name, OrtValue.ortvalue_from_numpy(self._row_probabilities)
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
