"""Splits of CatBoost on categories: the outcome of each is asked once, and looked up."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.model.onnx_inputs import UNSEEN
from serve_app.packaging.engines.graph import Tensor
from serve_app.packaging.engines.registry import side_by_side
from serve_app.packaging.engines.table import Table
from serve_app.packaging.engines.trees import require

MOST_COMBINATIONS = 100_000
"""Combinations of categories for which the model is asked."""


_UNKNOWN = "\0unknown"


Part = tuple[Any, ...]
"""What a split on categories depends on: ("cat", column), or ("above", column, borders)."""


class Lookups:
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
            sum(sizes) <= MOST_COMBINATIONS,
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
