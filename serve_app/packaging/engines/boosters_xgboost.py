"""XGBoost's scikit-learn classes: trees from the JSON form of the model, in single precision."""

import itertools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.encoding import ordinals
from serve_app.packaging.engines.graph import Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emits,
    two_columns,
)
from serve_app.packaging.engines.table import Table, joined
from serve_app.packaging.engines.trees import Tree, below, constant_trees, require, summed

_SMALLEST_CHANCE = np.float32(1e-6)
"""XGBoost bounds the base score of a logistic loss by it."""
_IDENTITY = {
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "rank:pairwise",
    "rank:ndcg",
    "rank:map",
    "binary:logitraw",
}
_SIGMOID = {"binary:logistic", "reg:logistic"}
_EXPONENTIAL = {"count:poisson", "reg:gamma", "reg:tweedie"}
_SOFTMAX = {"multi:softprob", "multi:softmax"}


@emits(
    "xgboost.XGBClassifier",
    "xgboost.XGBRegressor",
    "xgboost.XGBRFClassifier",
    "xgboost.XGBRFRegressor",
    "xgboost.XGBRanker",
)
class _XGBoost(Emitter):
    def __init__(self, estimator: Any, table: Table) -> None:
        super().__init__(estimator, table)
        text = bytes(estimator.get_booster().save_raw("json"))
        self._learner = json.loads(text)["learner"]
        self._objective: str = self._learner["objective"]["name"]

    def raw(self) -> Tensor:
        """The margin: the base score, and each tree up to the best iteration."""
        booster = self._learner["gradient_booster"]
        require(booster["name"] in ("gbtree", "dart"), f"XGBoost with booster {booster['name']}")
        # Versions before 3.3 keep the weights of dropped trees beside the model.
        model = booster["gbtree"]["model"] if "gbtree" in booster else booster["model"]
        weights = model.get("weight_drop") or booster.get("weight_drop")
        _, end = self.estimator._get_iteration_range(None)  # noqa: SLF001
        count = model["iteration_indptr"][end] if end else len(model["trees"])
        start = self._base_margin()
        trees = [
            _tree(tree, target)
            for tree, target in zip(model["trees"][:count], model["tree_info"], strict=False)
        ]
        for tree, weight in zip(trees, weights or (), strict=False):
            tree.value = (tree.value.astype(np.float32) * np.float32(weight)).astype(np.float64)
        table = self._encoded(model)
        values = self._prepared(table, trees)
        return summed(
            table,
            values,
            constant_trees(start.tolist()) + trees,
            len(start),
            compared_as=np.float32,
        )

    def _base_margin(self) -> NDArray[np.float32]:
        facts = self._learner["learner_model_param"]
        base = np.array(json.loads(f"[{facts['base_score'].strip('[]')}]"), np.float32)
        outputs = max(1, int(facts["num_class"]), int(facts.get("num_target", 1)))
        base = np.broadcast_to(base, outputs)
        if self._objective in _SIGMOID:
            base = np.clip(base, _SMALLEST_CHANCE, 1 - _SMALLEST_CHANCE)
            return -np.log(np.float32(1) / base - np.float32(1))
        return np.log(base) if self._objective in _EXPONENTIAL else base

    def _encoded(self, model: Any) -> Table:
        """The table with each column of a categorical dtype as its codes."""
        known = [_categories(column) for column in model.get("cats", {}).get("enc", [])]
        if not any(len(values) for values in known):
            return self.table
        parts = []
        for place, values in enumerate(known):
            part = self.table.select([place])
            parts.append(ordinals(part, [values]) if len(values) else part)
        return joined(parts)

    def _prepared(self, table: Table, trees: list[Tree]) -> Tensor:
        values = table.numbers(self.estimator)
        if table.is_sparse:
            # What a sparse matrix leaves out is missing to XGBoost.
            values = values.equal(0.0).where(float("nan"), values)
        values = values.cast(np.float32)
        missing = self.estimator.missing
        if not np.isnan(missing):
            # XGBoost rounds before it compares.
            values = values.equal(float(missing)).where(float("nan"), values)
        categorical = {int(tree.feature[node]) for tree in trees for node in tree.members}
        fractional = [place for place in categorical if not table.columns[place].integral]
        if fractional:
            # XGBoost drops decimal places of codes.
            chosen = np.isin(np.arange(table.width), fractional)
            values = self.graph.constant(chosen).where(values.op("Floor"), values)
        return values

    def _answers(self) -> Tensor:
        """The output of the booster: what `predict` of a regressor gives."""
        raw = self.raw()
        if self._objective in _SIGMOID:
            one = self.graph.lift(1.0, raw.dtype)
            return one / (_exponential((-raw).op("Min", 88.7)) + 1.0)
        if self._objective in _EXPONENTIAL:
            return _exponential(raw)
        if self._objective in _SOFTMAX:
            largest = raw.op("ReduceMax", np.array([1], np.int64), keepdims=1)
            chances = _exponential(raw - largest)
            return chances / chances.cast(np.float64).sum().cast(np.float32)
        require(self._objective in _IDENTITY, f"XGBoost with objective {self._objective}")
        return raw

    def predict(self) -> Tensor:
        found = self._answers()
        if not hasattr(self.estimator, "classes_"):
            return found.cast(np.float64)
        self._require_one_output()
        return found.argmax() if self._is_multiclass else as_indices(found.above(0.5))

    def predict_proba(self) -> Tensor:
        self._require_one_output()
        require(self._objective != "binary:logitraw", "XGBoost with objective binary:logitraw")
        found = self._answers()
        return (found if self._is_multiclass else two_columns(found)).cast(np.float64)

    @property
    def _is_multiclass(self) -> bool:
        return self._objective in _SOFTMAX

    def _require_one_output(self) -> None:
        targets = int(self._learner["learner_model_param"].get("num_target", 1))
        require(targets == 1, "XGBClassifier of several outputs")
        # Its predict then answers with two columns.
        require(not (self._is_multiclass and self.is_binary), f"{self._objective} of two classes")
        require(self._objective in _SIGMOID | _SOFTMAX | {"binary:logitraw"}, self._objective)


def _exponential(values: Tensor) -> Tensor:
    """Rounded from double precision: ONNX Runtime's own in single precision is coarser."""
    return values.cast(np.float64).op("Exp").cast(np.float32)


def _categories(column: Any) -> NDArray[Any]:
    """Known categories of a column, in the order of their codes."""
    values = column["values"]
    if "offsets" not in column:
        return np.array(values, object)
    text = bytes(value & 255 for value in values)
    ends = column["offsets"]
    return np.array([text[start:end].decode() for start, end in itertools.pairwise(ends)], object)


def _tree(tree: Any, target: int) -> Tree:
    left, right = (np.array(tree[f"{side}_children"], np.int64) for side in ("left", "right"))
    conditions = np.array(tree["split_conditions"], np.float32)
    is_leaf = left == -1
    missing_left = np.array(tree["default_left"], np.bool_)
    width = int(tree["tree_param"]["size_leaf_vector"])
    value = np.zeros((len(left), max(1, width)), np.float32)
    if width > 1:
        # The right child of a leaf is the number of its vector.
        vectors = np.array(tree["leaf_weights"], np.float32).reshape(-1, width)
        value[is_leaf] = vectors[right[is_leaf]]
        right[is_leaf] = -1
    else:
        value[is_leaf, 0] = conditions[is_leaf]
    members = {}
    for node, start, size in zip(
        tree["categories_nodes"],
        tree["categories_segments"],
        tree["categories_sizes"],
        strict=True,
    ):
        # The categories of a node go to the right.
        members[node] = np.array(tree["categories"][start : start + size], np.float64)
        left[node], right[node] = right[node], left[node]
        missing_left[node] = not missing_left[node]
    return Tree(
        feature=np.array(tree["split_indices"], np.int64),
        threshold=below(conditions).astype(np.float64),
        left=left,
        right=right,
        missing_left=missing_left & ~is_leaf,
        value=value.astype(np.float64),
        target=0 if width > 1 else target,
        members=members,
    )
