"""CatBoost's scikit-learn classes: trees from the JSON form of the model.

A split on categories, alone or together with others, depends on finitely many values. The model
itself is asked for the outcome of each, and the graph looks the outcome up: hashes and statistics
of categories need not be computed.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from serve_app.packaging.engines.catboost_lookups import Lookups
from serve_app.packaging.engines.graph import Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emits,
    softmax,
    two_columns,
)
from serve_app.packaging.engines.trees import (
    Tree,
    at_most_in_single,
    require,
    single_precision,
    summed,
)

_BINARY = ("Logloss", "CrossEntropy")


@emits("catboost.CatBoostClassifier", "catboost.CatBoostRegressor", "catboost.CatBoost")
class _CatBoost(Emitter):
    def raw(self) -> Tensor:
        """Sum of the trees, scaled and shifted."""
        model = _as_json(self.estimator)
        info = model["features_info"]
        require(
            not info.get("text_features") and not info.get("embedding_features"),
            "CatBoost over text or embeddings",
        )
        scale, bias = model["scale_and_bias"]
        outputs = len(bias)
        values = single_precision(self.table.values(self.estimator))
        floats = info.get("float_features", [])
        columns = [feature["flat_feature_index"] for feature in floats]
        missing_left = [feature["nan_value_treatment"] != "AsTrue" for feature in floats]
        if "oblivious_trees" in model:
            lookups = Lookups(self.estimator, self.table, model)
            trees = [
                _oblivious(tree, columns, missing_left, lookups, outputs)
                for tree in model["oblivious_trees"]
            ]
            values = lookups.beside(values)
        else:
            require(not info.get("categorical_features"), "CatBoost with categories in such trees")
            trees = [_any_tree(tree, columns, missing_left, outputs) for tree in model["trees"]]
        total = summed(self.table, values, trees, outputs, compared_as=np.float32)
        if scale != 1:
            total = total * float(scale)
        return total + np.array(bias, np.float64) if any(bias) else total

    def predict(self) -> Tensor:
        if not _is_classifier(self.estimator):
            kind = self.estimator._get_default_prediction_type()  # noqa: SLF001
            require(kind in ("RawFormulaVal", "Exponent"), f"CatBoost that predicts {kind}")
            return self.raw().op("Exp") if kind == "Exponent" else self.raw()
        raw = self.raw()
        if self._loss() not in _BINARY:
            return raw.argmax()
        threshold = self.estimator.get_probability_threshold()
        require(threshold in (None, 0.5), "CatBoost with a threshold")
        return as_indices(raw.above(0.0))

    def predict_proba(self) -> Tensor:
        raw = self.raw()
        if self._loss() == "MultiClass":
            return softmax(raw)
        require(self._loss() in _BINARY, f"CatBoost with loss {self._loss()}")
        return two_columns(raw.op("Sigmoid"))

    def _loss(self) -> str:
        return str(self.estimator.get_all_params().get("loss_function", ""))


def _is_classifier(estimator: Any) -> bool:
    return type(estimator).__name__ == "CatBoostClassifier"


def _as_json(estimator: Any) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.json"
        estimator.save_model(str(path), format="json")
        return json.loads(path.read_text())


def _oblivious(
    tree: Any,
    columns: list[int],
    missing_left: list[bool],
    lookups: Lookups,
    outputs: int,
) -> Tree:
    """A full binary tree: nodes by level, then the leaves; passing a split leads to the right."""
    splits = tree["splits"] or []
    depth = len(splits)
    leaves = 2**depth
    inner = leaves - 1
    feature, threshold, to_left = [], [], []
    for level, split in enumerate(splits):
        if split["split_type"] == "FloatFeature":
            number = split["float_feature_index"]
            one, limit, left = columns[number], float(split["border"]), missing_left[number]
        else:
            one, limit, left = lookups.place[split["split_index"]], 0.5, True
        feature += [one] * 2**level
        threshold += [limit] * 2**level
        to_left += [left] * 2**level
    # Children of node i are 2i + 1 and 2i + 2; the first split decides the lowest bit of a leaf.
    node = np.arange(inner)
    path = np.arange(leaves)
    leaf = sum((((path >> (depth - 1 - level)) & 1) << level for level in range(depth)), path * 0)
    values = np.array(tree["leaf_values"], np.float64).reshape(leaves, outputs)[leaf]
    ends = np.full(leaves, -1)
    nothing = np.zeros(leaves)
    return Tree(
        feature=np.concatenate([feature, nothing]).astype(np.int64),
        threshold=np.concatenate([at_most_in_single(np.array(threshold, np.float64)), nothing]),
        left=np.concatenate([2 * node + 1, ends]),
        right=np.concatenate([2 * node + 2, ends]),
        missing_left=np.concatenate([to_left, nothing]).astype(np.bool_),
        value=np.concatenate([np.zeros((inner, outputs)), values]),
    )


def _any_tree(tree: Any, columns: list[int], missing_left: list[bool], outputs: int) -> Tree:
    """A tree of nested nodes."""
    feature: list[int] = []
    threshold: list[float] = []
    children: list[list[int]] = []
    to_left: list[bool] = []
    value: list[Any] = []

    def add(node: Any) -> int:
        place = len(feature)
        split = node.get("split")
        number = split["float_feature_index"] if split else 0
        feature.append(columns[number])
        threshold.append(float(split["border"]) if split else 0.0)
        to_left.append(bool(split) and missing_left[number])
        children.append([-1, -1])
        value.append(np.zeros(outputs) if split else np.ravel(node["value"]))
        if split:
            children[place] = [add(node["left"]), add(node["right"])]
        return place

    add(tree)
    return Tree(
        feature=np.array(feature),
        threshold=at_most_in_single(np.array(threshold)),
        left=np.array(children)[:, 0],
        right=np.array(children)[:, 1],
        missing_left=np.array(to_left, np.bool_),
        value=np.array(value, np.float64),
    )
