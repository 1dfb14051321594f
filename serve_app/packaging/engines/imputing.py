"""Missing values: what takes their place, and where they were."""

from dataclasses import replace

import numpy as np

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import Emitter, emits
from serve_app.packaging.engines.table import Table, joined
from serve_app.packaging.engines.values import is_missing


@emits("sklearn.SimpleImputer")
class _SimpleImputer(Emitter):
    def transform(self) -> Table:
        values = self.table.values(self.estimator)
        columns = self.table.columns
        missing = self._is_missing(values)
        statistics = [
            self.table.code(column, value)
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
            np.array([self.table.code(column, marker) for column in self.table.columns])
        )


@emits("sklearn.MissingIndicator")
class _MissingIndicator(Emitter):
    def transform(self) -> Table:
        if not is_missing(self.estimator.missing_values):
            raise CannotCompileError("MissingIndicator of a value")
        places = self.estimator.features_.tolist()
        flags = self.table.values(self.estimator).is_nan().cast(np.float64)
        return self.table.of_numbers(flags.columns(places), len(places))
