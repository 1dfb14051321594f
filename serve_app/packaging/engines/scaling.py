"""Transformers that compute with each column: scaling, functions, powers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import Emitter, emits
from serve_app.packaging.engines.table import Table


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


@emits("sklearn.Normalizer")
class _Normalizer(_Elementwise):
    def compute(self, values: Tensor) -> Tensor:
        match self.estimator.norm:
            case "l1":
                length = values.op("Abs").sum()
            case "l2":
                length = (values * values).sum().op("Sqrt")
            case _:
                length = values.op("Abs").op("ReduceMax", np.array([1], np.int64), keepdims=1)
        return values / length.equal(0.0).where(1.0, length)
