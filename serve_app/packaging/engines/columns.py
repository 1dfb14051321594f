"""Transformers that select, multiply or project columns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serve_app.packaging.engines.graph import Tensor
from serve_app.packaging.engines.registry import Emitter, emit, emits
from serve_app.packaging.engines.table import Column, Table


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


@emits("sklearn.PCA", "sklearn.TruncatedSVD")
class _Projection(Emitter):
    def transform(self) -> Table:
        model = self.estimator
        axes = np.asarray(model.components_, np.float64).T.copy()
        values = self.table.numbers(model) @ axes
        if hasattr(model, "mean_"):
            values = values - np.ravel(model.mean_) @ axes
        if getattr(model, "whiten", False):
            scale = np.sqrt(np.asarray(model.explained_variance_, np.float64))
            values = values / np.maximum(scale, np.finfo(np.float64).eps)
        return self.table.of_numbers(values, axes.shape[1])
