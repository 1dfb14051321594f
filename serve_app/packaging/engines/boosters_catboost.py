"""CatBoost's scikit-learn classes: trees from the JSON form of the model.

A split on categories, alone or together with others, depends on finitely many values. The model
itself is asked for the outcome of each, and the graph looks the outcome up: hashes and statistics
of categories need not be computed.
"""

import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.model.onnx_predictor import UNSEEN
from serve_app.packaging.engines.graph import Table, Tensor
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

_MOST_COMBINATIONS = 20_000
"""Combinations of categories for which a split is looked up."""
_UNKNOWN = "\0unknown"

Part = tuple[Any, ...]
"""What a split on categories depends on: ("cat", feature), ("above", feature, border) or
("equal", feature, hash)."""


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
        if not self.is_binary:
            return raw.argmax()
        threshold = self.estimator.get_probability_threshold()
        require(threshold in (None, 0.5), "CatBoost with a threshold")
        return as_indices(raw.above(0.0))

    def predict_proba(self) -> Tensor:
        loss = self.estimator.get_all_params().get("loss_function", "")
        raw = self.raw()
        if loss == "MultiClass":
            return softmax(raw)
        require(loss in ("Logloss", "CrossEntropy"), f"CatBoost with loss {loss}")
        return two_columns(raw.op("Sigmoid"))


def _is_classifier(estimator: Any) -> bool:
    return type(estimator).__name__ == "CatBoostClassifier"


def _as_json(estimator: Any) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.json"
        estimator.save_model(str(path), format="json")
        return json.loads(path.read_text())


class _Lookups:
    """Columns with the outcomes of splits on categories, one group for each combination."""

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
        self.place: dict[int, int] = {}
        """Column of the outcome of a split, by its index; counted from the first one here."""
        self._groups: dict[tuple[Part, ...], list[int]] = {}
        for index in self._uses:
            self._groups.setdefault(self._parts(index), []).append(index)
        for index in itertools.chain.from_iterable(self._groups.values()):
            self.place[index] = table.width + len(self.place)
        self._values = {
            place: self._known_values(place)
            for place in sorted(
                {part[1] for parts in self._groups for part in parts if part[0] == "cat"}
            )
        }

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
        parts: set[Part] = set()
        for element in self._statistic(index)["elements"]:
            match element["combination_element"]:
                case "cat_feature_value" | "cat_feature_exact_value":
                    parts.add(("cat", self._categorical[element["cat_feature_index"]]))
                case "float_feature":
                    place = self._floats[element["float_feature_index"]]
                    parts.add(("above", place, float(element["border"])))
                case other:
                    require(False, f"CatBoost with {other}")  # noqa: FBT003
        return tuple(sorted(parts))

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
        found = self._table.graph.known_values(column)
        require(found is not None, f"CatBoost with numbers as categories in column {place}")
        return list(found or ())

    def beside(self, values: Tensor) -> Tensor:
        """The columns, and the outcomes beside them."""
        if not self._groups:
            return values
        looked_up = [
            self._outcomes(values, parts, indices) for parts, indices in self._groups.items()
        ]
        return values.op("Concat", *looked_up, axis=1)

    def _outcomes(self, values: Tensor, parts: tuple[Part, ...], indices: list[int]) -> Tensor:
        choices = [self._choices(part) for part in parts]
        sizes = [len(choice) for choice in choices]
        total = int(np.prod(sizes))
        require(
            total <= _MOST_COMBINATIONS,
            f"CatBoost with a statistic of {total} combinations of categories",
        )
        table = self._asked(parts, list(itertools.product(*choices)), indices)
        strides = np.cumprod([1, *sizes[::-1]])[-2::-1].astype(np.float64)
        place = None
        for part, size, stride in zip(parts, sizes, strides.tolist(), strict=True):
            number = self._number(values.columns([part[1]]), part, size) * stride
            place = number if place is None else place + number
        graph = values.graph
        rows = (place or values).cast(np.int64).flat()
        return graph.op("Gather", graph.constant(table), rows, axis=0)

    def _choices(self, part: Part) -> list[Any]:
        """Values that stand for every outcome of a part; the first: an unknown category."""
        if part[0] == "cat":
            return [_UNKNOWN, *self._values[part[1]]]
        border = np.float32(part[2])
        return [float(border), float(np.nextafter(border, np.float32(np.inf)))]

    def _number(self, column: Tensor, part: Part, size: int) -> Tensor:
        """Position of a row's value among the choices of a part."""
        if part[0] == "above":
            return column.above(part[2]).cast(np.float64)
        known = column.graph.op("Less", column, float(size - 1), dtype=np.bool_)
        return known.where(column - UNSEEN, 0.0)

    def _asked(
        self, parts: tuple[Part, ...], combinations: list[tuple[Any, ...]], indices: list[int]
    ) -> NDArray[np.float64]:
        """One where a split is passed, shape [combinations, splits]: the model is asked."""
        from catboost import Pool

        usual: list[Any] = [0.0] * self._table.width
        for place in self._categorical.values():
            usual[place] = _UNKNOWN
        rows = []
        for combination in combinations:
            row = list(usual)
            # A column can occur twice, as a category or with several borders.
            for part, value in zip(parts, combination, strict=True):
                row[part[1]] = value
            rows.append(row)
        pool = Pool(rows, cat_features=list(self._categorical.values()))
        leaves = np.asarray(self._estimator.calc_leaf_indexes(pool))
        found = []
        for index in indices:
            tree, level = self._uses[index]
            found.append((leaves[:, tree] >> level) & 1)
        return np.stack(found, axis=1).astype(np.float64)


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
