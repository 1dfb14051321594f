"""Trees, forests and boosted trees of scikit-learn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emit,
    emits,
    side_by_side,
    softmax,
    transformed,
    two_columns,
)
from serve_app.packaging.engines.table import Table
from serve_app.packaging.engines.trees import (
    Tree,
    at_most_in_single,
    constant_trees,
    require,
    set_bits,
    single_precision,
    summed,
)


def _tree(fitted: Any, value: NDArray[np.float64], target: int = 0) -> Tree:
    """The arrays of a fitted ``tree_``; it rounds rows to single precision."""
    return Tree(
        feature=np.maximum(fitted.feature, 0).astype(np.int64),
        threshold=at_most_in_single(fitted.threshold),
        left=fitted.children_left.astype(np.int64),
        right=fitted.children_right.astype(np.int64),
        missing_left=np.asarray(fitted.missing_go_to_left, np.bool_),
        value=value,
        target=target,
    )


class _Forest(Emitter):
    """One tree or many, whose leaves are averaged."""

    def sums(self) -> Tensor:
        """Sum of the leaves: outputs one after another, each with its classes or one value."""
        trees = [member.tree_ for member in self._members()]
        outputs, width = trees[0].value.shape[1:]
        values = single_precision(self.table.numbers(self.estimator))
        found = [_tree(tree, tree.value.reshape(len(tree.value), -1)) for tree in trees]
        return summed(self.table, values, found, outputs * width, compared_as=np.float32)

    def averages(self) -> Tensor:
        """Average of the leaves."""
        count = len(self._members())
        return self.sums() if count == 1 else self.sums() / float(count)

    def _members(self) -> list[Any]:
        return list(getattr(self.estimator, "estimators_", [self.estimator]))


@emits(
    "sklearn.DecisionTreeRegressor",
    "sklearn.ExtraTreeRegressor",
    "sklearn.RandomForestRegressor",
    "sklearn.ExtraTreesRegressor",
)
class _ForestRegressor(_Forest):
    def predict(self) -> Tensor:
        return self.averages()


@emits(
    "sklearn.DecisionTreeClassifier",
    "sklearn.ExtraTreeClassifier",
    "sklearn.RandomForestClassifier",
    "sklearn.ExtraTreesClassifier",
    "imblearn.BalancedRandomForestClassifier",
)
class _ForestClassifier(_Forest):
    def predict_proba(self) -> Tensor | list[Tensor]:
        averages = self.averages()
        if self.estimator.n_outputs_ == 1:
            return averages
        width = self._members()[0].tree_.value.shape[2]
        return [
            averages.columns(list(range(output * width, output * width + len(classes))))
            for output, classes in enumerate(self.estimator.classes_)
        ]

    def predict(self) -> Tensor:
        chances = self.predict_proba()
        if isinstance(chances, Tensor):
            return chances.argmax()
        return side_by_side([output.argmax().column() for output in chances])


@emits("sklearn.GradientBoostingClassifier", "sklearn.GradientBoostingRegressor")
class _GradientBoosting(Emitter):
    def raw(self) -> Tensor:
        """Raw predictions: the initial ones, and each tree times the learning rate."""
        fitted = self.estimator.estimators_
        start = self.estimator.init_
        require(
            start == "zero" or type(start).__name__.startswith("Dummy"),
            f"{type(self.estimator).__name__} that starts from {type(start).__name__}",
        )
        first = self.estimator._raw_predict_init(  # noqa: SLF001
            np.zeros((1, self.estimator.n_features_in_))
        )
        rate = self.estimator.learning_rate
        trees = constant_trees(np.ravel(first).tolist()) + [
            _tree(member.tree_, member.tree_.value[:, :, 0] * rate, target)
            for stage in fitted
            for target, member in enumerate(stage)
        ]
        values = single_precision(self.table.numbers(self.estimator))
        return summed(self.table, values, trees, fitted.shape[1], compared_as=np.float32)

    def decision_function(self) -> Tensor:
        return self.raw()

    def predict(self) -> Tensor:
        raw = self.raw()
        if not hasattr(self.estimator, "classes_"):
            return raw
        return as_indices(raw.at_least(0.0)) if self.is_binary else raw.argmax()

    def predict_proba(self) -> Tensor:
        raw = self.raw()
        if not self.is_binary:
            return softmax(raw)
        if self.estimator.loss == "exponential":
            raw = raw * 2.0
        return two_columns(raw.op("Sigmoid"))


@emits("sklearn.HistGradientBoostingClassifier", "sklearn.HistGradientBoostingRegressor")
class _HistGradientBoosting(Emitter):
    """Compares in double precision; its own encoder turns categories into codes from 0 on."""

    def raw(self) -> Tensor:
        """Raw predictions: the baseline, and each tree."""
        table = self._encoded()
        start = np.ravel(self.estimator._baseline_prediction)  # noqa: SLF001
        trees = constant_trees(start.tolist()) + [
            _histogram_tree(predictor, target)
            for stage in self.estimator._predictors  # noqa: SLF001
            for target, predictor in enumerate(stage)
        ]
        return summed(table, table.numbers(self.estimator), trees, len(start))

    def _encoded(self) -> Table:
        encoder = getattr(self.estimator, "_preprocessor", None)
        return self.table if encoder is None else transformed(encoder, self.table)

    def decision_function(self) -> Tensor:
        return self.raw()

    def predict(self) -> Tensor:
        raw = self.raw()
        if hasattr(self.estimator, "classes_"):
            return as_indices(raw.above(0.0)) if self.is_binary else raw.argmax()
        link = type(self.estimator._loss.link).__name__  # noqa: SLF001
        if link == "LogLink":
            return raw.op("Exp")
        require(link == "IdentityLink", f"HistGradientBoosting with {link}")
        return raw

    def predict_proba(self) -> Tensor:
        raw = self.raw()
        return two_columns(raw.op("Sigmoid")) if self.is_binary else softmax(raw)


def _histogram_tree(predictor: Any, target: int) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(np.bool_)
    members = {
        int(place): set_bits(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][place]])
        for place in np.flatnonzero(nodes["is_categorical"].astype(np.bool_) & ~is_leaf)
    }
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(np.bool_),
        value=nodes["value"].astype(np.float64)[:, np.newaxis],
        target=target,
        members=members,
    )


@emits("sklearn.IsolationForest")
class _IsolationForest(Emitter):
    def score_samples(self) -> Tensor:
        """Opposite of the anomaly score: two to the power of minus the relative depth."""
        model = self.estimator
        depths = [
            np.asarray(lengths) + average - 1.0
            for lengths, average in zip(
                model._decision_path_lengths,  # noqa: SLF001
                model._average_path_length_per_tree,  # noqa: SLF001
                strict=True,
            )
        ]
        trees = []
        for member, chosen, lengths in zip(
            model.estimators_, model.estimators_features_, depths, strict=True
        ):
            tree = _tree(member.tree_, lengths[:, np.newaxis])
            tree.feature = np.asarray(chosen, np.int64)[tree.feature]
            trees.append(tree)
        from sklearn.ensemble._iforest import _average_path_length

        scale = len(trees) * float(_average_path_length([model._max_samples])[0])  # noqa: SLF001
        if scale == 0:
            raise CannotCompileError("IsolationForest of single rows")
        values = single_precision(self.table.numbers(model))
        total = summed(self.table, values, trees, 1, compared_as=np.float32)
        return -self.graph.op("Pow", 2.0, -(total / scale))

    def decision_function(self) -> Tensor:
        return self.score_samples() - float(self.estimator.offset_)

    def predict(self) -> Tensor:
        """Minus one for an outlier, else one; shape [rows, 1]."""
        return (
            self.decision_function()
            .at_least(0.0)
            .where(1.0, self.graph.lift(-1.0, np.dtype(float)))
        )


@emits("sklearn.AdaBoostClassifier")
class _AdaBoost(Emitter):
    def decision_function(self) -> Tensor:
        """Weighted votes; for two classes one column."""
        scores = self._votes()
        if not self.is_binary:
            return scores
        return scores.columns([1]) - scores.columns([0])

    def _votes(self) -> Tensor:
        members = list(
            zip(self.estimator.estimators_, self.estimator.estimator_weights_, strict=False)
        )
        for member, _ in members:
            require(
                member.classes_.tolist() == self.classes.tolist(),
                "AdaBoost with a member that lacks a class",
            )
        if all(type(member).__name__ == "DecisionTreeClassifier" for member, _ in members):
            trees = [
                _tree(member.tree_, self._weighted(member.tree_.value[:, 0].argmax(axis=1), weight))
                for member, weight in members
            ]
            values = single_precision(self.table.numbers(self.estimator))
            total = summed(self.table, values, trees, len(self.classes), compared_as=np.float32)
        else:
            every = np.arange(len(self.classes))
            votes = [
                self.graph.op(
                    "Gather",
                    self.graph.constant(self._weighted(every, weight)),
                    emit(member, self.table).predict(),
                    axis=0,
                )
                for member, weight in members
            ]
            total = sum(votes[1:], start=votes[0])
        return total / float(self.estimator.estimator_weights_.sum())

    def _weighted(self, chosen: NDArray[np.int64], weight: float) -> NDArray[np.float64]:
        """The votes of a member for each class, by the class that it chose."""
        count = len(self.classes)
        return np.where(np.eye(count, dtype=np.bool_)[chosen], weight, -weight / (count - 1))

    def predict(self) -> Tensor:
        scores = self.decision_function()
        return as_indices(scores.above(0.0)) if self.is_binary else scores.argmax()

    def predict_proba(self) -> Tensor:
        scores = self.decision_function()
        if self.is_binary:
            scores = side_by_side([-scores, scores]) / 2.0
            return softmax(scores)
        return softmax(scores / float(len(self.classes) - 1))
