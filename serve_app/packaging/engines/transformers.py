"""Transformers: scaling, imputing, encoding, selecting."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import (
    CannotCompileError,
    Column,
    Table,
    Tensor,
    is_missing,
    joined,
)
from serve_app.packaging.engines.registry import Emitter, emit, emits

_NAN = -1.7e308
"""Stands for a missing value where missing is a category: NaN equals nothing."""


class _Elementwise(Emitter):
    """A transformer that keeps columns apart and in place."""

    def compute(self, values: Tensor) -> Tensor:
        """The transformed values."""
        raise NotImplementedError

    def transform(self) -> Table:
        """See `Emitter`."""
        return self.table.with_matrix(
            self.compute(self.table.numbers(self.estimator)), integral=False
        )


@emits("sklearn.StandardScaler", "sklearn.RobustScaler", "sklearn.MaxAbsScaler")
class _Scaler(_Elementwise):
    def compute(self, values: Tensor) -> Tensor:
        # None where a step is switched off.
        center = getattr(self.estimator, "mean_", getattr(self.estimator, "center_", None))
        if center is not None and getattr(self.estimator, "with_mean", True):
            values = values - center
        if self.estimator.scale_ is not None:
            values = values / self.estimator.scale_
        return values


@emits("sklearn.MinMaxScaler")
class _MinMaxScaler(_Elementwise):
    def compute(self, values: Tensor) -> Tensor:
        values = values * self.estimator.scale_ + self.estimator.min_
        if self.estimator.clip:
            low, high = self.estimator.feature_range
            values = values.op("Max", float(low)).op("Min", float(high))
        return values


@emits("sklearn.Binarizer")
class _Binarizer(_Elementwise):
    def compute(self, values: Tensor) -> Tensor:
        return values.above(float(self.estimator.threshold)).cast(np.float64)


_LN2, _LN10 = float(np.log(2)), float(np.log(10))
_FUNCTIONS: dict[Any, Callable[[Tensor], Tensor]] = {
    np.log: lambda x: x.op("Log"),
    np.log1p: lambda x: (x + 1.0).op("Log"),
    np.log2: lambda x: x.op("Log") / _LN2,
    np.log10: lambda x: x.op("Log") / _LN10,
    np.exp: lambda x: x.op("Exp"),
    np.expm1: lambda x: x.op("Exp") - 1.0,
    np.sqrt: lambda x: x.op("Sqrt"),
    np.square: lambda x: x * x,
    np.abs: lambda x: x.op("Abs"),
    np.sign: lambda x: x.op("Sign"),
    np.negative: lambda x: -x,
    np.reciprocal: lambda x: x.op("Reciprocal"),
    np.sin: lambda x: x.op("Sin"),
    np.cos: lambda x: x.op("Cos"),
}


def applied(function: Any, values: Tensor) -> Tensor:
    """A NumPy function of a tensor.

    Raises:
        CannotCompileError: another function; its code is not read.
    """
    found = _FUNCTIONS.get(function) if isinstance(function, np.ufunc) else None
    if found is None:
        raise CannotCompileError(f"function {getattr(function, '__name__', function)}")
    return found(values)


@emits("sklearn.FunctionTransformer")
class _FunctionTransformer(_Elementwise):
    def compute(self, values: Tensor) -> Tensor:
        if self.estimator.kw_args:
            raise CannotCompileError("FunctionTransformer with kw_args")
        return applied(self.estimator.func, values)

    def transform(self) -> Table:
        # HistGradientBoosting wraps a check of its numeric columns in one.
        harmless = getattr(self.estimator.func, "func", None)
        if self.estimator.func is None or getattr(harmless, "__name__", "") == "check_array":
            return self.table
        return super().transform()


@emits("sklearn.PowerTransformer")
class _PowerTransformer(_Elementwise):
    def compute(self, values: Tensor) -> Tensor:
        powers = np.asarray(self.estimator.lambdas_)
        if np.isnan(powers).any():
            raise CannotCompileError("PowerTransformer of a constant column")
        if self.estimator.method == "box-cox":
            values = self._power(values, powers)
        else:
            zero = self.graph.lift(0.0, values.dtype)
            positive = self._power(values.op("Max", zero) + 1.0, powers)
            negative = self._power(-values.op("Min", zero) + 1.0, 2 - powers)
            values = values.at_least(0.0).where(positive, -negative)
        if self.estimator.standardize:
            values = _Scaler(self.estimator._scaler, self.table).compute(values)  # noqa: SLF001
        return values

    def _power(self, base: Tensor, power: NDArray[Any]) -> Tensor:
        logarithm = base.op("Log")
        safe = np.where(power == 0, 1.0, power)
        raised = (base.op("Pow", safe) - 1.0) / safe
        if not (power == 0).any():
            return raised
        return self.graph.constant(power == 0).where(logarithm, raised)


@emits("sklearn.SimpleImputer")
class _SimpleImputer(Emitter):
    def transform(self) -> Table:
        values = self.table.values(self.estimator)
        columns = self.table.columns
        missing = self._is_missing(values)
        statistics = [
            self.graph.code(column, value)
            for column, value in zip(columns, self.estimator.statistics_, strict=True)
        ]
        kept = list(range(len(columns)))
        if not self.estimator.keep_empty_features:
            kept = [place for place in kept if not np.isnan(statistics[place])]
        elif np.isnan(statistics).any():
            raise CannotCompileError("SimpleImputer of a column without values")
        filled = replace(self.table, matrix=missing.where(np.asarray(statistics), values)).select(
            kept
        )
        if not self.estimator.add_indicator:
            return filled
        asked = self.estimator.indicator_.features_.tolist()
        flags = missing.cast(np.float64).columns(asked)
        return joined([filled, self.table.of_numbers(flags, len(asked))])

    def _is_missing(self, values: Tensor) -> Tensor:
        marker = self.estimator.missing_values
        if is_missing(marker):
            return values.is_nan()
        return values.equal(
            np.array([self.graph.code(column, marker) for column in self.table.columns])
        )


@emits("sklearn.MissingIndicator")
class _MissingIndicator(Emitter):
    def transform(self) -> Table:
        if not is_missing(self.estimator.missing_values):
            raise CannotCompileError("MissingIndicator of a value")
        places = self.estimator.features_.tolist()
        flags = self.table.values(self.estimator).is_nan().cast(np.float64)
        return self.table.of_numbers(flags.columns(places), len(places))


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
            table.graph.code(column, value)
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


@emits("sklearn.PolynomialFeatures")
class _PolynomialFeatures(Emitter):
    def transform(self) -> Table:
        powers = np.asarray(self.estimator.powers_)
        values = self.table.numbers(self.estimator)
        one = values.columns([0]) * 0.0 + 1.0
        with_one = values.op("Concat", one, axis=1)
        # Each product as a list of columns, filled up with ones.
        factors = [np.repeat(np.arange(powers.shape[1]), row).tolist() for row in powers]
        degree = max(map(len, factors), default=0)
        filled = [[*row, *[powers.shape[1]] * (degree - len(row))] for row in factors]
        product = with_one.columns([row[0] for row in filled])
        for place in range(1, degree):
            product = product * with_one.columns([row[place] for row in filled])
        return self.table.of_numbers(product, len(powers), is_sparse=self.table.is_sparse)


@emits(
    "sklearn.SelectKBest",
    "sklearn.SelectPercentile",
    "sklearn.SelectFpr",
    "sklearn.SelectFdr",
    "sklearn.SelectFwe",
    "sklearn.GenericUnivariateSelect",
    "sklearn.VarianceThreshold",
    "sklearn.SelectFromModel",
    "sklearn.SequentialFeatureSelector",
)
class _Selector(Emitter):
    def transform(self) -> Table:
        return self.table.select(self.estimator.get_support(indices=True).tolist())


@emits("sklearn.RFE", "sklearn.RFECV")
class _Elimination(_Selector):
    """A selector that also predicts, from what it selects."""

    def predict(self) -> Tensor:
        return self._inner().predict()  # type: ignore[no-any-return]

    def predict_proba(self) -> Tensor:
        return self._inner().predict_proba()  # type: ignore[no-any-return]

    def decision_function(self) -> Tensor:
        return self._inner().decision_function()  # type: ignore[no-any-return]

    def _inner(self) -> Any:
        return emit(self.estimator.estimator_, self.transform())


def renamed(table: Table, names: Sequence[str]) -> Table:
    """The same columns under other names."""
    columns: list[Column] = [
        replace(column, name=name) for column, name in zip(table.columns, names, strict=True)
    ]
    return replace(table, columns=tuple(columns))
