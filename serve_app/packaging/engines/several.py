"""One estimator for each class or output."""

import numpy as np

from serve_app.packaging.engines.ensembles import probabilities
from serve_app.packaging.engines.graph import Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emit,
    emits,
    side_by_side,
    two_columns,
)


@emits("sklearn.OneVsRestClassifier")
class _OneVsRest(Emitter):
    def predict(self) -> Tensor:
        scores = self._scores()
        if self.estimator.multilabel_:
            limit = 0.0 if self._has_decision() else 0.5
            return scores.above(limit).cast(np.int64)
        if len(self.estimator.estimators_) == 1:
            return as_indices(scores.above(0.0 if self._has_decision() else 0.5))
        return scores.argmax()

    def predict_proba(self) -> Tensor:
        positive = self._chances()
        if self.estimator.multilabel_:
            return side_by_side(positive)
        if len(positive) == 1:
            return two_columns(positive[0])
        together = side_by_side(positive)
        total = together.sum()
        return total.equal(0.0).where(1 / len(positive), together / total)

    def decision_function(self) -> Tensor:
        found = [
            emit(member, self.table).decision_function() for member in self.estimator.estimators_
        ]
        return side_by_side(found)

    def _has_decision(self) -> bool:
        return hasattr(self.estimator.estimators_[0], "decision_function")

    def _scores(self) -> Tensor:
        return self.decision_function() if self._has_decision() else side_by_side(self._chances())

    def _chances(self) -> list[Tensor]:
        return [
            probabilities(member, self.table).columns([1]) for member in self.estimator.estimators_
        ]


@emits("sklearn.MultiOutputClassifier", "sklearn.MultiOutputRegressor")
class _MultiOutput(Emitter):
    def predict(self) -> Tensor:
        found = [emit(member, self.table).predict() for member in self.estimator.estimators_]
        if hasattr(self.estimator, "classes_"):
            found = [indices.column() for indices in found]
        return side_by_side(found)

    def predict_proba(self) -> list[Tensor]:
        return [emit(member, self.table).predict_proba() for member in self.estimator.estimators_]
