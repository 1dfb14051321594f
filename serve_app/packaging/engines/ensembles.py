"""Estimators that ask several others: votes, stacks, bags."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import Emitter, emit, emits
from serve_app.packaging.engines.table import Table, joined


class Averaging(Emitter):
    """The most probable class of ``predict_proba``."""

    def predict(self) -> Tensor:
        """See `Emitter`."""
        found: Tensor = self.predict_proba().argmax()
        return found


@emits("sklearn.VotingClassifier")
class _VotingClassifier(Averaging):
    def predict_proba(self) -> Tensor:
        if self.estimator.voting == "hard":
            raise CannotCompileError("VotingClassifier(voting='hard') has no probabilities")
        return average(
            [probabilities(member, self.table) for member in self.estimator.estimators_],
            self._weights(),
        )

    def predict(self) -> Tensor:
        if self.estimator.voting == "soft":
            return super().predict()
        count = len(self.classes)
        positions = np.arange(count, dtype=np.int64)
        votes = [
            emit(member, self.table).predict().column().equal(positions).cast(np.float64)
            for member in self.estimator.estimators_
        ]
        return _sum(votes, self._weights()).argmax()

    def _weights(self) -> list[float] | None:
        return self.estimator._weights_not_none  # type: ignore[no-any-return] # noqa: SLF001


@emits("sklearn.VotingRegressor")
class _VotingRegressor(Emitter):
    def predict(self) -> Tensor:
        return average(
            [emit(member, self.table).predict() for member in self.estimator.estimators_],
            self.estimator._weights_not_none,  # noqa: SLF001
        )


def _sum(values: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    if weights is not None:
        values = [value * float(weight) for value, weight in zip(values, weights, strict=True)]
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def average(values: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    """Mean of tensors, weighted if there are weights."""
    return _sum(values, weights) / float(len(values) if weights is None else sum(weights))


def probabilities(estimator: Any, table: Table) -> Tensor:
    """What ``predict_proba`` of an estimator with one output returns."""
    found = emit(estimator, table).predict_proba()
    if isinstance(found, list):
        raise CannotCompileError(f"{type(estimator).__name__} of several outputs")
    return found.cast(np.float64)  # type: ignore[no-any-return]


@emits("sklearn.StackingClassifier", "sklearn.StackingRegressor")
class _Stacking(Emitter):
    def predict(self) -> Tensor:
        return self._final().predict()  # type: ignore[no-any-return]

    def predict_proba(self) -> Tensor:
        return self._final().predict_proba()  # type: ignore[no-any-return]

    def decision_function(self) -> Tensor:
        return self._final().decision_function()  # type: ignore[no-any-return]

    def transform(self) -> Table:
        from sklearn.base import is_classifier

        is_binary = len(getattr(self.estimator, "classes_", ())) == 2  # noqa: PLR2004
        parts = []
        members = [member for member in self.estimator.estimators_ if member != "drop"]
        for member, method in zip(members, self.estimator.stack_method_, strict=True):
            found = getattr(emit(member, self.table), method)()
            if isinstance(found, list):
                raise CannotCompileError("stack of estimators with several outputs")
            width = self._width(member, method)
            if method == "predict" and is_classifier(member):
                labels = np.asarray(member.classes_)
                if labels.dtype.kind not in "iufb":
                    raise CannotCompileError("stack of labels that are strings")
                found = self.graph.op(
                    "Gather", self.graph.constant(labels.astype(np.float64)), found.column()
                )
            if method == "predict_proba" and is_binary:
                found, width = found.columns([1]), 1
            parts.append(self.table.of_numbers(found.cast(np.float64), width))
        return joined([*parts, self.table] if self.estimator.passthrough else parts)

    def _width(self, member: Any, method: str) -> int:
        classes = len(getattr(member, "classes_", ()))
        if method == "predict":
            return 1
        return 1 if method == "decision_function" and classes == 2 else classes  # noqa: PLR2004

    def _final(self) -> Any:
        return emit(self.estimator.final_estimator_, self.transform())


@emits(
    "sklearn.BaggingClassifier", "sklearn.BaggingRegressor", "imblearn.BalancedBaggingClassifier"
)
class _Bagging(Averaging):
    def predict_proba(self) -> Tensor:
        if any(list(m.classes_) != list(range(len(self.classes))) for m in self._members()):
            raise CannotCompileError("BaggingClassifier with a member that lacks a class")
        return average([probabilities(*member) for member in self._over()], None)

    def predict(self) -> Tensor:
        if hasattr(self.estimator, "classes_"):
            return super().predict()
        return average([emit(*member).predict().cast(np.float64) for member in self._over()], None)

    def _members(self) -> list[Any]:
        return list(self.estimator.estimators_)

    def _over(self) -> list[tuple[Any, Table]]:
        return [
            (member, self.table.select(chosen.tolist()))
            for member, chosen in zip(
                self._members(), self.estimator.estimators_features_, strict=True
            )
        ]
