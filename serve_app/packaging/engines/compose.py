"""Estimators made of steps: pipelines, columns, searches."""

from dataclasses import replace
from typing import Any

import numpy as np

from serve_app.packaging.engines.columns import renamed
from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import Emitter, emit, emits, transformed
from serve_app.packaging.engines.scaling import applied
from serve_app.packaging.engines.table import Table, joined
from serve_app.packaging.engines.trees import require


class _Identity(Emitter):
    def transform(self) -> Table:
        return self.table


@emits("sklearn.Pipeline", "imblearn.Pipeline")
def _pipeline(estimator: Any, table: Table) -> Any:
    """The last step, over what the others make of the table."""
    *steps, last = [step for _, step in estimator.steps]
    for step in steps:
        # Samplers of imbalanced-learn change training data only.
        if not hasattr(step, "fit_resample"):
            table = transformed(step, table)
    if last is None or last == "passthrough":
        return _Identity(estimator, table)
    return emit(last, table)


@emits(
    "sklearn.GridSearchCV",
    "sklearn.RandomizedSearchCV",
    "sklearn.HalvingGridSearchCV",
    "sklearn.HalvingRandomSearchCV",
)
def _search(estimator: Any, table: Table) -> Any:
    return emit(estimator.best_estimator_, table)


@emits("sklearn.FrozenEstimator")
def _frozen(estimator: Any, table: Table) -> Any:
    return emit(estimator.estimator, table)


@emits("sklearn.RANSACRegressor")
def _consensus(estimator: Any, table: Table) -> Any:
    return emit(estimator.estimator_, table)


@emits("sklearn.ColumnTransformer")
class _ColumnTransformer(Emitter):
    def transform(self) -> Table:
        places = self._places()
        parts = []
        for name, step, _ in self.estimator.transformers_:
            chosen = self.estimator._transformer_to_input_indices.get(name, [])  # noqa: SLF001
            if len(chosen) and not (isinstance(step, str) and step == "drop"):
                parts.append(
                    transformed(step, self.table.select([places[place] for place in chosen]))
                )
        if not parts:
            raise CannotCompileError("ColumnTransformer that drops every column")
        table = replace(joined(parts), is_sparse=bool(self.estimator.sparse_output_))
        return _named(self.estimator, table)

    def _places(self) -> list[int]:
        """Where each column that it was fitted on is in the table: by name if both have names."""
        fitted = [str(name) for name in getattr(self.estimator, "feature_names_in_", [])]
        given = [column.name for column in self.table.columns]
        if fitted and None not in given:
            if missing := sorted(set(fitted) - set(map(str, given))):
                raise CannotCompileError(f"ColumnTransformer without {', '.join(missing)}")
            return [given.index(name) for name in fitted]
        return list(range(self.table.width))


@emits("sklearn.FeatureUnion")
class _FeatureUnion(Emitter):
    def transform(self) -> Table:
        weights = self.estimator.transformer_weights or {}
        parts = []
        for name, step in self.estimator.transformer_list:
            if step == "drop":
                continue
            part = transformed(step, self.table)
            if name in weights:
                part = part.with_matrix(part.numbers(step) * float(weights[name]))
            parts.append(part)
        return _named(self.estimator, joined(parts))


def _named(estimator: Any, table: Table) -> Table:
    """A table under the names that a DataFrame would have, where the estimator gives one."""
    config = getattr(estimator, "_sklearn_output_config", {})
    if config.get("transform") not in ("pandas", "polars"):
        return table
    return renamed(table, [str(name) for name in estimator.get_feature_names_out()])


@emits("sklearn.TransformedTargetRegressor")
class _TransformedTarget(Emitter):
    def predict(self) -> Tensor:
        values: Tensor = emit(self.estimator.regressor_, self.table).predict().cast(np.float64)
        transformer = self.estimator.transformer_
        kind = type(transformer).__name__
        if kind == "FunctionTransformer":
            inverse = transformer.inverse_func
            return values if inverse is None else applied(inverse, values)
        if kind in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
            center = getattr(transformer, "mean_", getattr(transformer, "center_", None))
            if transformer.scale_ is not None:
                values = values * transformer.scale_
            return values if center is None else values + center
        require(kind == "MinMaxScaler", f"target transformed by {kind}")
        unscaled: Tensor = (values - transformer.min_) / transformer.scale_
        return unscaled
