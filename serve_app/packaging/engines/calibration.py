"""Calibrated probabilities, and thresholds that decide labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.ensembles import Averaging, average
from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emit,
    emits,
    logistic,
    side_by_side,
    softmax,
    two_columns,
)


@emits("sklearn.CalibratedClassifierCV")
class _Calibrated(Averaging):
    def predict_proba(self) -> Tensor:
        folds = [self._fold(fold) for fold in self.estimator.calibrated_classifiers_]
        return average(folds, None)

    def _fold(self, fold: Any) -> Tensor:
        count = len(fold.classes)
        if list(fold.estimator.classes_) != list(fold.classes):
            raise CannotCompileError("calibration of a fold that lacks a class")
        inner = emit(fold.estimator, self.table)
        has_scores = hasattr(fold.estimator, "decision_function")
        scores = (inner.decision_function() if has_scores else inner.predict_proba()).cast(
            np.float64
        )
        if fold.method == "temperature":
            return _tempered(scores, fold.calibrators[0], count, has_scores=has_scores)
        if count == 2:  # noqa: PLR2004
            positive = scores if has_scores else scores.columns([1])
            return two_columns(_calibrated(fold.calibrators[0], positive))
        found = [
            _calibrated(calibrator, scores.columns([place]))
            for place, calibrator in enumerate(fold.calibrators)
        ]
        together = side_by_side(found)
        total = together.sum()
        return total.equal(0.0).where(1 / count, together / total)


def _tempered(scores: Tensor, calibrator: Any, count: int, *, has_scores: bool) -> Tensor:
    if not has_scores:
        scores = (scores + 1e-12).op("Log")
    elif count == 2:  # noqa: PLR2004
        scores = side_by_side([-scores, scores])
    return softmax(scores * float(calibrator.beta_))


def _calibrated(calibrator: Any, scores: Tensor) -> Tensor:
    """Probabilities that a sigmoid or an isotonic regression makes of scores, [rows, 1]."""
    if type(calibrator).__name__ == "_SigmoidCalibration":
        return logistic(-(scores * float(calibrator.a_) + float(calibrator.b_)))
    dtype = calibrator.X_thresholds_.dtype
    knots = np.asarray(calibrator.X_thresholds_, np.float64)
    levels = np.asarray(calibrator.y_thresholds_, np.float64)
    if len(knots) == 1:
        return scores * 0.0 + float(levels[0])
    if calibrator.out_of_bounds != "clip":
        raise CannotCompileError("isotonic regression that does not clip")
    # Fitted on scores of single precision, it rounds to it too.
    scores = scores.cast(dtype).cast(np.float64)
    scores = scores.op("Max", float(knots[0])).op("Min", float(knots[-1]))
    place = scores.above(knots[1:-1]).cast(np.float64).sum().cast(np.int64)
    slopes = np.diff(levels) / np.diff(knots)

    def at(values: NDArray[np.float64]) -> Tensor:
        return scores.graph.op("Gather", scores.graph.constant(values), place)

    found = at(slopes) * (scores - at(knots[:-1])) + at(levels[:-1])
    return found.cast(dtype).cast(np.float64)


@emits("sklearn.FixedThresholdClassifier", "sklearn.TunedThresholdClassifierCV")
class _Threshold(Emitter):
    """A binary classifier whose label does not follow the most probable class."""

    def predict(self) -> Tensor:
        estimator, inner = self._inner()
        positive = self._positive_class()
        if self._uses_probabilities(estimator):
            scores = inner.predict_proba().columns([positive])
        else:
            scores = inner.decision_function()
            scores = scores if positive == 1 else -scores
        chosen = as_indices(scores.at_least(self._threshold(estimator)))
        if positive == 1:
            return chosen
        return self.graph.op("Sub", np.int64(1), chosen, dtype=np.int64)

    def predict_proba(self) -> Tensor:
        return self._inner()[1].predict_proba()  # type: ignore[no-any-return]

    def decision_function(self) -> Tensor:
        return self._inner()[1].decision_function()  # type: ignore[no-any-return]

    def _inner(self) -> tuple[Any, Any]:
        estimator = getattr(self.estimator, "estimator_", self.estimator.estimator)
        return estimator, emit(estimator, self.table)

    def _positive_class(self) -> int:
        if hasattr(self.estimator, "best_threshold_"):
            label = self.estimator._curve_scorer._get_pos_label()  # noqa: SLF001
        else:
            label = self.estimator.pos_label
        # None means the second class, as for every binary score of scikit-learn.
        return 1 if label is None else self.classes.tolist().index(label)

    def _uses_probabilities(self, estimator: Any) -> bool:
        method = self.estimator.response_method
        return method == "predict_proba" or (
            method == "auto" and hasattr(estimator, "predict_proba")
        )

    def _threshold(self, estimator: Any) -> float:
        if hasattr(self.estimator, "best_threshold_"):
            return float(self.estimator.best_threshold_)
        if self.estimator.threshold == "auto":
            return 0.5 if self._uses_probabilities(estimator) else 0.0
        return float(self.estimator.threshold)
