"""Estimators made of others: pipelines, searches, votes, stacks, calibration, thresholds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import CannotCompileError, Table, Tensor, joined
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emit,
    emits,
    logistic,
    side_by_side,
    softmax,
    transformed,
    two_columns,
)
from serve_app.packaging.engines.transformers import applied, renamed
from serve_app.packaging.engines.trees import require


class _Identity(Emitter):
    def transform(self) -> Table:
        return self.table


@emits("sklearn.Pipeline", "imblearn.Pipeline")
def _pipeline(estimator: Any, table: Table) -> Any:
    """The last step, over what the others make of the table."""
    *steps, last = [step for _, step in estimator.steps]
    for step in steps:
        # Samplers of imbalanced-learn change training data only.
        if not hasattr(step, "fit_resample"):
            table = transformed(step, table)
    if last is None or last == "passthrough":
        return _Identity(estimator, table)
    return emit(last, table)


@emits(
    "sklearn.GridSearchCV",
    "sklearn.RandomizedSearchCV",
    "sklearn.HalvingGridSearchCV",
    "sklearn.HalvingRandomSearchCV",
)
def _search(estimator: Any, table: Table) -> Any:
    return emit(estimator.best_estimator_, table)


@emits("sklearn.FrozenEstimator")
def _frozen(estimator: Any, table: Table) -> Any:
    return emit(estimator.estimator, table)


@emits("sklearn.ColumnTransformer")
class _ColumnTransformer(Emitter):
    def transform(self) -> Table:
        places = self._places()
        parts = []
        for name, step, _ in self.estimator.transformers_:
            chosen = self.estimator._transformer_to_input_indices.get(name, [])  # noqa: SLF001
            if len(chosen) and not (isinstance(step, str) and step == "drop"):
                parts.append(
                    transformed(step, self.table.select([places[place] for place in chosen]))
                )
        if not parts:
            raise CannotCompileError("ColumnTransformer that drops every column")
        table = replace(joined(parts), is_sparse=bool(self.estimator.sparse_output_))
        return _named(self.estimator, table)

    def _places(self) -> list[int]:
        """Where each column that it was fitted on is in the table: by name if both have names."""
        fitted = [str(name) for name in getattr(self.estimator, "feature_names_in_", [])]
        given = [column.name for column in self.table.columns]
        if fitted and None not in given:
            if missing := sorted(set(fitted) - set(map(str, given))):
                raise CannotCompileError(f"ColumnTransformer without {', '.join(missing)}")
            return [given.index(name) for name in fitted]
        return list(range(self.table.width))


@emits("sklearn.FeatureUnion")
class _FeatureUnion(Emitter):
    def transform(self) -> Table:
        weights = self.estimator.transformer_weights or {}
        parts = []
        for name, step in self.estimator.transformer_list:
            if step == "drop":
                continue
            part = transformed(step, self.table)
            if name in weights:
                part = part.with_matrix(part.numbers(step) * float(weights[name]))
            parts.append(part)
        return _named(self.estimator, joined(parts))


def _named(estimator: Any, table: Table) -> Table:
    """A table under the names that a DataFrame would have, where the estimator gives one."""
    config = getattr(estimator, "_sklearn_output_config", {})
    if config.get("transform") not in ("pandas", "polars"):
        return table
    return renamed(table, [str(name) for name in estimator.get_feature_names_out()])


class _Averaging(Emitter):
    """The most probable class of ``predict_proba``."""

    def predict(self) -> Tensor:
        """See `Emitter`."""
        found: Tensor = self.predict_proba().argmax()
        return found


@emits("sklearn.VotingClassifier")
class _VotingClassifier(_Averaging):
    def predict_proba(self) -> Tensor:
        if self.estimator.voting == "hard":
            raise CannotCompileError("VotingClassifier(voting='hard') has no probabilities")
        return _average(
            [_probabilities(member, self.table) for member in self.estimator.estimators_],
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
        return _average(
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


def _average(values: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    return _sum(values, weights) / float(len(values) if weights is None else sum(weights))


def _probabilities(estimator: Any, table: Table) -> Tensor:
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


@emits("sklearn.CalibratedClassifierCV")
class _Calibrated(_Averaging):
    def predict_proba(self) -> Tensor:
        folds = [self._fold(fold) for fold in self.estimator.calibrated_classifiers_]
        return _average(folds, None)

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
            _probabilities(member, self.table).columns([1]) for member in self.estimator.estimators_
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


@emits("sklearn.TransformedTargetRegressor")
class _TransformedTarget(Emitter):
    def predict(self) -> Tensor:
        values: Tensor = emit(self.estimator.regressor_, self.table).predict().cast(np.float64)
        transformer = self.estimator.transformer_
        kind = type(transformer).__name__
        if kind == "FunctionTransformer":
            inverse = transformer.inverse_func
            return values if inverse is None else applied(inverse, values)
        if kind in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
            center = getattr(transformer, "mean_", getattr(transformer, "center_", None))
            if transformer.scale_ is not None:
                values = values * transformer.scale_
            return values if center is None else values + center
        require(kind == "MinMaxScaler", f"target transformed by {kind}")
        unscaled: Tensor = (values - transformer.min_) / transformer.scale_
        return unscaled


@emits(
    "sklearn.BaggingClassifier", "sklearn.BaggingRegressor", "imblearn.BalancedBaggingClassifier"
)
class _Bagging(_Averaging):
    def predict_proba(self) -> Tensor:
        if any(list(m.classes_) != list(range(len(self.classes))) for m in self._members()):
            raise CannotCompileError("BaggingClassifier with a member that lacks a class")
        return _average([_probabilities(*member) for member in self._over()], None)

    def predict(self) -> Tensor:
        if hasattr(self.estimator, "classes_"):
            return super().predict()
        return _average([emit(*member).predict().cast(np.float64) for member in self._over()], None)

    def _members(self) -> list[Any]:
        return list(self.estimator.estimators_)

    def _over(self) -> list[tuple[Any, Table]]:
        return [
            (member, self.table.select(chosen.tolist()))
            for member, chosen in zip(
                self._members(), self.estimator.estimators_features_, strict=True
            )
        ]
