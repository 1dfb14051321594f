"""A fitted estimator, served as it is."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serve_app.model.card import Engine, EstimatorInput
from serve_app.model.features import Feature
from serve_app.model.frames import FrameBuilder
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Rows, finite, is_missing, most_probable, rows_dtype
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    PlainPrediction,
    Regression,
    Task,
)

Ask = Callable[[Any], Prediction]


class SklearnPredictor:
    """A fitted estimator with scikit-learn's interface, or a pipeline that ends in one."""

    engine: Engine = "sklearn"

    def __init__(
        self,
        estimator: Any,
        task: Task,
        features: Sequence[Feature],
        estimator_input: EstimatorInput = "array",
    ) -> None:
        """Take a fitted estimator; its ``n_jobs`` become 1.

        Args:
            estimator: has what the task asks for: ``predict``, ``predict_proba``,
                ``decision_function``.
            task: what it predicts.
            features: its columns, in its order.
            estimator_input: whether it takes an array, its only column, or a pandas DataFrame.
        """
        import sklearn

        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        _use_one_thread(estimator)
        self._ask = asking(task, estimator)
        self._convert = _conversion(features, estimator_input)
        self._config_context = sklearn.config_context
        # Where nothing may be missing, the request schema has already rejected NaN and infinity.
        # Elsewhere the estimator's own check must stay: without it some answer NaN as a number.
        self._assume_finite = not any(feature.nullable for feature in features)

    def predict(self, rows: Rows) -> Prediction:
        """See `Predictor.predict`."""
        with self._config_context(
            assume_finite=self._assume_finite, skip_parameter_validation=True
        ):
            return self._ask(self._convert(rows))


def _use_one_thread(estimator: Any) -> None:
    # A replica has one CPU.
    if hasattr(estimator, "get_params"):
        parameters = estimator.get_params().items()
        jobs = {name: 1 for name, given in parameters if name.endswith("n_jobs") and given}
        if jobs:
            estimator.set_params(**jobs)


def _conversion(
    features: Sequence[Feature], estimator_input: EstimatorInput
) -> Callable[[Rows], Any]:
    if estimator_input == "frame":
        return FrameBuilder(features)
    if estimator_input == "column":
        return lambda rows: rows[:, 0]
    as_nan = np.array([each.nullable and not each.missing_is_none for each in features])
    if rows_dtype(features) is object and as_nan.any():
        # What pandas puts into an array for a missing value, and what imputers look for.
        return lambda rows: np.where(is_missing(rows) & as_nan, np.nan, rows)
    return lambda rows: rows


def asking(task: Task, estimator: Any) -> Ask:
    """Asks ``estimator`` for rows in the form in which it takes them."""
    match task:
        case Classification():
            return _classification(task, estimator)
        case MultiOutput():
            return _multioutput(task, estimator)
        case Regression():
            return lambda rows: Prediction(
                finite(_table(estimator.predict(rows)).astype(np.float64))
            )
        case OutlierDetection():
            return _outlier(task, estimator)
        case PlainPrediction():
            return lambda rows: Prediction(_values(_dense(estimator.predict(rows))))


def _classification(task: Classification, estimator: Any) -> Ask:
    def labels(rows: Any) -> list[Any]:
        found: list[Any] = np.asarray(estimator.predict(rows)).reshape(-1).tolist()
        return found

    def most_probable_label(rows: Any) -> Prediction:
        return most_probable(np.asarray(estimator.predict_proba(rows)), task.classes)

    def both(rows: Any) -> Prediction:
        return Prediction(labels(rows), finite(np.asarray(estimator.predict_proba(rows))))

    if not task.has_probabilities:
        return lambda rows: Prediction(labels(rows))
    return most_probable_label if task.labels_follow_probabilities else both


def _multioutput(task: MultiOutput, estimator: Any) -> Ask:
    def predict(rows: Any) -> Prediction:
        labels = _table(estimator.predict(rows)).tolist()
        if not task.has_probabilities:
            return Prediction(labels)
        return Prediction(labels, per_output(estimator.predict_proba(rows)))

    return predict


def per_output(probabilities: Any) -> list[Any]:
    """For each row and output the probabilities of its classes.

    Args:
        probabilities: for each output an array of shape [rows, classes]; or one array of shape
            [rows, outputs] with the probability of class 1 of 0 and 1.

    Raises:
        NotFiniteError: a value is NaN or infinite.
    """
    if not isinstance(probabilities, list):
        positive = _dense(probabilities)
        return finite(np.stack([1 - positive, positive], axis=2))
    outputs = [finite(np.asarray(output)) for output in probabilities]
    return list(map(list, zip(*outputs, strict=True)))


def _outlier(task: OutlierDetection, estimator: Any) -> Ask:
    def predict(rows: Any) -> Prediction:
        values = (np.asarray(estimator.predict(rows)).reshape(-1) == -1).tolist()
        if not task.has_score:
            return Prediction(values)
        scores = np.asarray(estimator.decision_function(rows), dtype=np.float64).reshape(-1)
        return Prediction(values, finite(scores))

    return predict


def _table(answers: Any) -> Any:
    """Shape [rows, outputs], also of one output."""
    table = _dense(answers)
    return table.reshape(len(table), -1)


def _values(answers: Any) -> list[Any]:
    """Whatever the estimator answers; JSON has neither NaN nor infinity."""
    if answers.dtype.kind == "f":
        return finite(answers)
    values: list[Any] = answers.tolist()
    return values


def _dense(answers: Any) -> Any:
    return np.asarray(answers.toarray() if hasattr(answers, "toarray") else answers)
