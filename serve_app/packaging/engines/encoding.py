"""Categories and bins: one column for each, positions, or what is known of each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import Tensor
from serve_app.packaging.engines.registry import Emitter, emits
from serve_app.packaging.engines.table import Column, Table
from serve_app.packaging.engines.values import is_missing

_NAN = -1.7e308
"""Stands for a missing value where missing is a category: NaN equals nothing."""


@emits("sklearn.OneHotEncoder", "sklearn.OrdinalEncoder", "sklearn.TargetEncoder")
class _CategoryEncoder(Emitter):
    """What an encoder makes of a category is read from the encoder itself, one by one."""

    def transform(self) -> Table:
        categories = [np.asarray(values, object) for values in self.estimator.categories_]
        blocks = self._blocks(categories)
        width = sum(block.shape[1] for block in blocks)
        if all(map(_is_ordinal, categories, blocks)):
            return ordinals(self.table, categories)
        is_category = _is_category(self.table, categories)
        if name_is(self.estimator, "OneHotEncoder"):
            return self.table.of_numbers(
                self._one_hot(is_category, blocks), width, is_sparse=self.estimator.sparse_output
            )
        return self.table.of_numbers(_looked_up(is_category, blocks), width)

    def _blocks(self, categories: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
        """What each column's categories become; the last row: an unknown one, or zeros."""
        known = self._encoded(
            [
                [values[min(row, len(values) - 1)] for values in categories]
                for row in range(max(map(len, categories)))
            ]
        )
        unknown = np.zeros((1, known.shape[1]))
        if getattr(self.estimator, "handle_unknown", "ignore") != "error":
            unknown = self._encoded([[_unknown(values) for values in categories]])
        widths = self._widths(known.shape[1], len(categories))
        ends = np.cumsum(widths)
        return [
            np.concatenate([known[: len(values), end - width : end], unknown[:, end - width : end]])
            for values, width, end in zip(categories, widths, ends, strict=True)
        ]

    def _widths(self, total: int, columns: int) -> list[int]:
        if name_is(self.estimator, "OneHotEncoder"):
            return list(self.estimator._n_features_outs)  # noqa: SLF001
        return [total // columns] * columns

    def _encoded(self, rows: list[list[Any]]) -> NDArray[np.float64]:
        values = np.empty((len(rows), len(rows[0])), object)
        for place, row in enumerate(rows):
            values[place] = row
        found = self.estimator.transform(values)
        return np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)

    def _one_hot(self, is_category: Tensor, blocks: Sequence[NDArray[np.float64]]) -> Tensor:
        known = [block[:-1] for block in blocks]
        unknown = [block[-1] for block in blocks]
        weights = _diagonal([rows - base for rows, base in zip(known, unknown, strict=True)])
        simple = not np.concatenate(unknown).any() and (weights.sum(axis=0) == 1).all()
        if simple and weights.shape[0] == weights.shape[1]:
            return is_category
        if simple:
            return is_category.columns(weights.argmax(axis=0).tolist())
        return is_category @ weights + np.concatenate(unknown)


def _is_category(table: Table, categories: Sequence[NDArray[Any]]) -> Tensor:
    """One where a column has a category, for each category of each column."""
    sizes = [len(values) for values in categories]
    codes = _codes(table, categories)
    values = table.values(None)
    if np.isnan(codes).any():
        values = values.is_nan().where(_NAN, values)
    if sizes != [1] * len(sizes):
        values = values.columns(np.repeat(np.arange(len(sizes)), sizes).tolist())
    return values.equal(np.nan_to_num(codes, nan=_NAN)).cast(np.float64)


def _codes(table: Table, categories: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    return np.array(
        [
            table.code(column, value)
            for column, values in zip(table.columns, categories, strict=True)
            for value in values.tolist()
        ]
    )


def _looked_up(is_category: Tensor, blocks: Sequence[NDArray[np.float64]]) -> Tensor:
    """A row of a table for each value: its last row unless a category is found."""
    heights = [len(block) for block in blocks]
    ends = np.cumsum(heights) - 1.0
    steps = [np.arange(1.0 - height, 0.0)[:, np.newaxis] for height in heights]
    places = (is_category @ _diagonal(steps) + ends).cast(np.int64)
    rows = is_category.graph.constant(np.concatenate(blocks))
    found = is_category.graph.op("Gather", rows, places, axis=0)
    return found.op("Reshape", np.array([0, -1], np.int64))


def _is_ordinal(categories: NDArray[Any], block: NDArray[np.float64]) -> bool:
    """Whether categories become their positions, and all else NaN."""
    values = block[:, 0]
    is_known = np.array([not is_missing(value) for value in categories] + [False])
    expected = np.where(is_known, np.arange(len(values)), np.nan)
    return block.shape[1] == 1 and np.array_equal(values, expected, equal_nan=True)


def ordinals(table: Table, categories: Sequence[NDArray[Any]]) -> Table:
    """Each value as its position in the column's categories; NaN if missing or unknown."""
    known = [
        np.array([value for value in values.tolist() if not is_missing(value)], object)
        for values in categories
    ]
    sizes = np.array([len(values) for values in known])
    values = table.values(None)
    if _codes(table, known).tolist() == np.concatenate([*map(np.arange, sizes)]).tolist():
        # The codes are these positions; others are unknown here.
        is_known = table.graph.op(
            "And",
            values.at_least(0.0),
            table.graph.op("Less", values, sizes.astype(np.float64), dtype=np.bool_),
            dtype=np.bool_,
        )
        values = is_known.where(values, float("nan"))
    else:
        blocks = [
            np.append(np.arange(float(size)), np.nan)[:, np.newaxis] for size in sizes.tolist()
        ]
        values = _looked_up(_is_category(table, known), blocks)
    return Table(table.graph, values, (Column(integral=True),) * table.width)


def _unknown(categories: NDArray[Any]) -> Any:
    if any(isinstance(value, str) for value in categories):
        return "\0" + max((value for value in categories if isinstance(value, str)), key=len)
    return max((float(value) for value in categories if not is_missing(value)), default=0.0) + 1


def _diagonal(blocks: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Matrices along the diagonal of one."""
    result = np.zeros((sum(b.shape[0] for b in blocks), sum(b.shape[1] for b in blocks)))
    row = column = 0
    for block in blocks:
        height, width = block.shape
        result[row : row + height, column : column + width] = block
        row, column = row + height, column + width
    return result


def name_is(estimator: Any, name: str) -> bool:
    """Whether an object is of the class of that name."""
    return type(estimator).__name__ == name


@emits("sklearn.KBinsDiscretizer")
class _KBinsDiscretizer(Emitter):
    def transform(self) -> Table:
        edges = [np.asarray(values)[1:-1] for values in self.estimator.bin_edges_]
        values = self.table.numbers(self.estimator)
        repeated = values.columns(
            np.repeat(np.arange(len(edges)), [len(inner) for inner in edges]).tolist()
        )
        passed = repeated.at_least(np.concatenate(edges)).cast(np.float64)
        bins = self.table.of_numbers(
            passed @ _diagonal([np.ones((len(inner), 1)) for inner in edges]), len(edges)
        )
        if self.estimator.encode == "ordinal":
            return bins
        return _CategoryEncoder(self.estimator._encoder, bins).transform()  # noqa: SLF001
