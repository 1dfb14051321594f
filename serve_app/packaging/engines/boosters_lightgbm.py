"""LightGBM's scikit-learn classes: trees from the text form of the model, which is exact."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.encoding import ordinals
from serve_app.packaging.engines.graph import Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    emits,
    softmax,
    two_columns,
)
from serve_app.packaging.engines.table import Table, joined
from serve_app.packaging.engines.trees import Tree, constant_trees, require, set_bits, summed

_ZERO = float(np.float32(1e-35))
"""What LightGBM takes for zero where zero stands for a missing value."""
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_ZERO = 1
_SIGMOID = {"binary", "cross_entropy", "multiclassova"}
_EXPONENTIAL = {"poisson", "gamma", "tweedie"}
_IDENTITY = {
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "quantile",
    "mape",
    "lambdarank",
    "rank_xendcg",
}


@emits("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor", "lightgbm.LGBMRanker")
class _LightGBM(Emitter):
    def raw(self) -> Tensor:
        """Sum of the trees up to the best iteration."""
        booster = self.estimator.booster_
        head, *blocks = booster.model_to_string(
            num_iteration=booster.best_iteration if booster.best_iteration > 0 else -1
        ).split("\nTree=")
        facts = _facts(head)
        outputs = int(facts["num_tree_per_iteration"])
        parsed = [_facts(block.partition("\n\n")[0]) for block in blocks]
        require(
            all(tree.get("is_linear", "0") == "0" for tree in parsed), "LightGBM with linear trees"
        )
        trees = [_tree(tree, place % outputs) for place, tree in enumerate(parsed)]
        table = self._encoded(booster)
        values = self._prepared(table, parsed)
        self._averaged_over = len(trees) // outputs if "average_output" in facts else 1
        return summed(table, values, trees, outputs)

    def _encoded(self, booster: Any) -> Table:
        """The table with each column of a categorical dtype as its codes."""
        known = booster.pandas_categorical or []
        coded = [place for place, column in enumerate(self.table.columns) if column.category]
        if not known:
            return self.table
        require(len(coded) == len(known), "LightGBM over other columns than it was fitted on")
        parts = []
        for place in range(self.table.width):
            part = self.table.select([place])
            if place in coded:
                part = ordinals(part, [np.asarray(known[coded.index(place)], object)])
            parts.append(part)
        return joined(parts)

    def _prepared(self, table: Table, parsed: list[dict[str, str]]) -> Tensor:
        """Values as the trees take them: zero as missing, categories as whole numbers."""
        values = table.numbers(self.estimator)
        zero_is_missing, categorical = set[int](), set[int]()
        for tree in parsed:
            features, kinds = _integers(tree, "split_feature"), _integers(tree, "decision_type")
            zero_is_missing |= set(features[(kinds >> 2) & 3 == _MISSING_ZERO].tolist())
            categorical |= set(features[kinds & _CATEGORICAL > 0].tolist())
        everywhere = np.arange(table.width)
        if zero_is_missing:
            near = self.graph.op(
                "And",
                self.graph.op("LessOrEqual", values.op("Abs"), _ZERO, dtype=np.bool_),
                np.isin(everywhere, list(zero_is_missing)),
                dtype=np.bool_,
            )
            values = near.where(float("nan"), values)
        fractional = [place for place in categorical if not table.columns[place].integral]
        if fractional:
            whole = values.op("Sign") * values.op("Abs").op("Floor")
            values = self.graph.constant(np.isin(everywhere, fractional)).where(whole, values)
        return values

    def _link(self) -> Any:
        objective = self.estimator.objective_
        require(isinstance(objective, str), "LightGBM with an objective of your own")
        # The text form has the objective under its own name, with its parameters.
        text = self.estimator.booster_.model_to_string(num_iteration=1)
        name, *options = _facts(text)["objective"].split(" ")
        return name, dict(option.partition(":")[::2] for option in options)

    def decision_function(self) -> Tensor:
        return self.raw()

    def _answers(self) -> Tensor:
        """The output of the booster: what `predict` of a regressor gives."""
        name, options = self._link()
        raw = self.raw()
        if self._averaged_over > 1:
            raw = raw / float(self._averaged_over)
        if name in _SIGMOID:
            # A product as LightGBM takes it, before the exponential.
            return (raw * float(options.get("sigmoid", 1))).op("Sigmoid")
        if name in _EXPONENTIAL:
            return raw.op("Exp")
        if name == "multiclass":
            return softmax(raw)
        if name == "cross_entropy_lambda":
            return (raw.op("Exp") + 1.0).op("Log")
        require(name in _IDENTITY, f"LightGBM with objective {name}")
        return raw.op("Sign") * raw * raw if "sqrt" in options else raw

    def predict(self) -> Tensor:
        if not hasattr(self.estimator, "classes_"):
            return self._answers()
        return self.predict_proba().argmax()

    def predict_proba(self) -> Tensor:
        found = self._answers()
        return found if self._link()[0].startswith("multiclass") else two_columns(found)


def _around_zero(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds with the outcome that they have where every value near zero becomes zero.

    LightGBM keeps no values near zero of a row.
    """
    near = np.abs(thresholds) <= _ZERO
    return np.where(
        near, np.where(thresholds >= 0, _ZERO, np.nextafter(-_ZERO, -np.inf)), thresholds
    )


def _facts(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.split("\n"))


def _integers(tree: dict[str, str], name: str) -> NDArray[np.int64]:
    return np.array(tree.get(name, "").split(), np.int64)


def _numbers(tree: dict[str, str], name: str) -> NDArray[np.float64]:
    return np.array(tree.get(name, "").split(), np.float64)


def _tree(tree: dict[str, str], target: int) -> Tree:
    leaves = _numbers(tree, "leaf_value")
    if len(leaves) == 1:
        return replace(constant_trees(leaves.tolist())[0], target=target)
    kinds = _integers(tree, "decision_type")
    thresholds = _numbers(tree, "threshold")
    inner = len(kinds)
    categorical = (kinds & _CATEGORICAL).astype(np.bool_)
    missing = (kinds >> 2) & 3
    # A missing value is zero unless the tree knows of missing values.
    missing_left = np.where(missing == 0, thresholds >= 0, kinds & _DEFAULT_LEFT > 0)

    def children(name: str) -> NDArray[np.int64]:
        found = _integers(tree, name)
        # Leaves are numbered from -1 downwards; here they follow the inner nodes.
        found = np.where(found < 0, inner + ~found, found)
        return np.concatenate([found, np.full(len(leaves), -1)])

    def padded(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values, np.zeros(len(leaves), values.dtype)])

    ends, words = _integers(tree, "cat_boundaries"), _integers(tree, "cat_threshold")
    members = {}
    for node in np.flatnonzero(categorical).tolist():
        place = int(thresholds[node])
        members[node] = set_bits(words[ends[place] : ends[place + 1]].astype(np.uint32))
    return Tree(
        feature=padded(_integers(tree, "split_feature")),
        threshold=padded(np.where(categorical, 0.0, _around_zero(thresholds))),
        left=children("left_child"),
        right=children("right_child"),
        missing_left=padded(missing_left & ~categorical),
        value=np.concatenate([np.zeros(inner), leaves])[:, np.newaxis],
        target=target,
        members=members,
    )
