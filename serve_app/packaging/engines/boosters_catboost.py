"""CatBoost's scikit-learn classes: trees from the JSON form of the model.

A split on categories, alone or together with others, depends on finitely many values. The model
itself is asked for the outcome of each, and the graph looks the outcome up: hashes and statistics
of categories need not be computed.
"""

import itertools
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.model.onnx_inputs import UNSEEN
from serve_app.packaging.engines.graph import Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emits,
    side_by_side,
    softmax,
    two_columns,
)
from serve_app.packaging.engines.table import Table
from serve_app.packaging.engines.trees import (
    Tree,
    at_most_in_single,
    require,
    single_precision,
    summed,
)

_MOST_COMBINATIONS = 100_000
"""Combinations of categories for which the model is asked."""
_BINARY = ("Logloss", "CrossEntropy")
_UNKNOWN = "\0unknown"

Part = tuple[Any, ...]
"""What a split on categories depends on: ("cat", column), or ("above", column, borders)."""


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
            lookups = _Lookups(self.estimator, self.table, model)
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


class _Lookups:
    """Columns with the outcomes of splits on categories, one for each split."""

    def __init__(self, estimator: Any, table: Table, model: Any) -> None:
        self._estimator = estimator
        self._table = table
        self._info = model["features_info"]
        self._categorical = {
            feature["feature_index"]: feature["flat_feature_index"]
            for feature in self._info.get("categorical_features", [])
        }
        self._floats = {
            feature["feature_index"]: feature["flat_feature_index"]
            for feature in self._info.get("float_features", [])
        }
        self._uses = self._first_uses(model["oblivious_trees"])
        self._groups: dict[tuple[Part, ...], list[int]] = {}
        for index in self._uses:
            self._groups.setdefault(self._parts(index), []).append(index)
        self.place: dict[int, int] = {}
        """Column of the outcome of a split, by its index."""
        for index in itertools.chain.from_iterable(self._groups.values()):
            self.place[index] = table.width + len(self.place)

    def _first_uses(self, trees: Sequence[Any]) -> dict[int, tuple[int, int]]:
        """For each split on categories a tree and a level where it occurs."""
        uses: dict[int, tuple[int, int]] = {}
        self._splits: dict[int, Any] = {}
        for number, tree in enumerate(trees):
            for level, split in enumerate(tree["splits"] or []):
                if split["split_type"] != "FloatFeature":
                    uses.setdefault(split["split_index"], (number, level))
                    self._splits[split["split_index"]] = split
        return uses

    def _parts(self, index: int) -> tuple[Part, ...]:
        split = self._splits[index]
        if split["split_type"] == "OneHotFeature":
            return (("cat", self._categorical[split["cat_feature_index"]]),)
        require(split["split_type"] == "OnlineCtr", f"CatBoost with {split['split_type']}")
        categories: set[int] = set()
        borders: dict[int, set[float]] = {}
        for element in self._statistic(index)["elements"]:
            match element["combination_element"]:
                case "cat_feature_value" | "cat_feature_exact_value":
                    categories.add(self._categorical[element["cat_feature_index"]])
                case "float_feature":
                    place = self._floats[element["float_feature_index"]]
                    borders.setdefault(place, set()).add(float(element["border"]))
                case other:
                    require(False, f"CatBoost with {other}")  # noqa: FBT003
        return (
            *(("cat", place) for place in sorted(categories)),
            *(("above", place, tuple(sorted(found))) for place, found in sorted(borders.items())),
        )

    def _statistic(self, index: int) -> Any:
        """The statistic that a split compares: splits are numbered through all features."""
        info = self._info
        index -= sum(len(feature["borders"] or ()) for feature in info.get("float_features", []))
        index -= sum(
            len(feature.get("values") or ()) for feature in info.get("categorical_features", [])
        )
        for statistic in info["ctrs"]:
            if index < len(statistic["borders"]):
                return statistic
            index -= len(statistic["borders"])
        raise IndexError(index)

    def _known_values(self, place: int) -> list[Any]:
        """Values of a categorical column, by code."""
        column = self._table.columns[place]
        require(column.category, f"CatBoost with categories in column {place}, which is none")
        found = self._table.known_values(column)
        require(found is not None, f"CatBoost with numbers as categories in column {place}")
        return list(found or ())

    def beside(self, values: Tensor) -> Tensor:
        """The columns, and the outcomes beside them."""
        if not self._groups:
            return values
        choices = {
            part: self._choices(part)
            for part in dict.fromkeys(itertools.chain.from_iterable(self._groups))
        }
        sizes = [math.prod(len(choices[part]) for part in group) for group in self._groups]
        require(
            sum(sizes) <= _MOST_COMBINATIONS,
            f"CatBoost with {sum(sizes):,} combinations of categories",
        )
        categories = sorted({part[1] for part in choices if part[0] == "cat"})
        borders = sorted(
            {(part[1], border) for part in choices if part[0] == "above" for border in part[2]}
        )
        tables, strides, starts = [], [], []
        start = 0
        for group, indices in self._groups.items():
            combinations = list(itertools.product(*(choices[part] for part in group)))
            stride = np.zeros(len(categories) + len(borders))
            step = len(combinations)
            for part in group:
                step //= len(choices[part])
                if part[0] == "cat":
                    stride[categories.index(part[1])] = step
                else:
                    for border in part[2]:
                        stride[len(categories) + borders.index((part[1], border))] = step
            for outcomes in self._asked(group, combinations, indices):
                tables.append(outcomes)
                strides.append(stride)
                starts.append(float(start))
                start += len(combinations)
        numbers = self._numbers(values, categories, borders)
        places = (numbers @ np.stack(strides, axis=1) + np.array(starts)).cast(np.int64)
        graph = values.graph
        flat = graph.constant(np.concatenate(tables))
        found = graph.op("Gather", flat, places, dtype=np.uint8, axis=0)
        return side_by_side([values, found.cast(np.float64)])

    def _numbers(
        self, values: Tensor, categories: list[int], borders: list[tuple[int, float]]
    ) -> Tensor:
        """Position of each category among the choices, and one for each border that is passed."""
        parts = []
        if categories:
            column = values.columns(categories)
            limits = [float(len(self._known_values(place))) for place in categories]
            known = values.graph.op("Less", column, np.array(limits), dtype=np.bool_)
            parts.append(known.where(column - UNSEEN, 0.0))
        if borders:
            column = values.columns([place for place, _ in borders])
            limits = [border for _, border in borders]
            parts.append(column.above(np.array(limits)).cast(np.float64))
        return side_by_side(parts)

    def _choices(self, part: Part) -> list[Any]:
        """Values that stand for every outcome of a part; the first: an unknown category."""
        if part[0] == "cat":
            return [_UNKNOWN, *self._known_values(part[1])]
        borders = np.array(part[2], np.float32)
        above = np.nextafter(borders, np.float32(np.inf))
        return [float(borders[0]), *above.astype(float).tolist()]

    def _asked(
        self, parts: tuple[Part, ...], combinations: list[tuple[Any, ...]], indices: list[int]
    ) -> list[NDArray[np.uint8]]:
        """For each split, one for each combination that passes it: the model is asked."""
        from catboost import Pool

        usual: list[Any] = [0.0] * self._table.width
        for place in self._categorical.values():
            usual[place] = _UNKNOWN
        rows = []
        for combination in combinations:
            row = list(usual)
            for part, value in zip(parts, combination, strict=True):
                row[part[1]] = value
            rows.append(row)
        pool = Pool(rows, cat_features=list(self._categorical.values()))
        leaves = np.asarray(self._estimator.calc_leaf_indexes(pool))
        found = []
        for index in indices:
            tree, level = self._uses[index]
            found.append(((leaves[:, tree] >> level) & 1).astype(np.uint8))
        return found


def _oblivious(
    tree: Any,
    columns: list[int],
    missing_left: list[bool],
    lookups: _Lookups,
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
