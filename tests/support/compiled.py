"""A fitted estimator beside its compiled form, and rows where the two could part."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from serve_app.model.features import Category, Feature
from serve_app.model.onnx_predictor import OnnxPredictor
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import rows_of
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    Output,
    PlainPrediction,
    Regression,
    Task,
)
from serve_app.packaging.compiler import compiled_form, thresholds


def features_of(table: Any) -> tuple[Feature, ...]:
    """Features of a DataFrame; strings are categories that may be unseen."""
    return tuple(_feature(str(name), table[name]) for name in table)


def _feature(name: str, column: Any) -> Feature:
    nullable = bool(column.isna().any())
    dtype = str(column.dtype)
    if column.dtype.kind == "b":
        return Feature(name=name, kind="boolean", dtype=dtype, nullable=nullable)
    if column.dtype.kind in "iuf":
        kind = "number" if column.dtype.kind == "f" else "integer"
        low, high = float(column.min()), float(column.max())
        return Feature(name=name, kind=kind, minimum=low, maximum=high, nullable=nullable)  # type: ignore[arg-type]
    if dtype == "category":
        values = column.cat.categories.tolist()
    else:
        values, dtype = sorted(column.dropna().unique().tolist()), "object"
    known = tuple(Category(value=value) for value in values)
    return Feature(name=name, kind="category", dtype=dtype, categories=known, nullable=nullable)


def task_of(estimator: Any) -> Task:
    """The task of an estimator; labels are given by the compiled form itself."""
    if is_classifier(estimator):
        has_probabilities = hasattr(estimator, "predict_proba")
        if isinstance(estimator.classes_, list):
            outputs = [
                Output(name=f"y{place}", classes=tuple(each.tolist()))
                for place, each in enumerate(estimator.classes_)
            ]
            return MultiOutput(outputs=tuple(outputs), has_probabilities=has_probabilities)
        return Classification(
            classes=tuple(np.asarray(estimator.classes_).tolist()),
            has_probabilities=has_probabilities,
            labels_follow_probabilities=False,
        )
    if is_regressor(estimator):
        return Regression(targets=("y",))
    if is_outlier_detector(estimator):
        return OutlierDetection(has_score=hasattr(estimator, "decision_function"))
    return PlainPrediction()


class Pair:
    """An estimator and its compiled form, over the columns of a table."""

    def __init__(
        self,
        estimator: Any,
        table: Any,
        *,
        task: Task | None = None,
        features: Sequence[Feature] | None = None,
    ) -> None:
        self.by_name = hasattr(table, "columns")
        self.table = table if self.by_name else pd.DataFrame(np.asarray(table)).add_prefix("x")
        self.features = tuple(features or features_of(self.table))
        self.task = task or task_of(estimator)
        self.estimator = estimator
        self.form = compiled_form(estimator, self.features, self.task)
        self.compiled = OnnxPredictor(
            self.form.model,
            precision=self.form.precision,
            features=self.features,
            task=self.task,
        )
        takes = "frame" if self.by_name else "array"
        self.reference = SklearnPredictor(estimator, self.task, self.features, takes)  # type: ignore[arg-type]

    def rows(self, table: Any = None) -> Any:
        """Rows of a table; by default of the one that the pair was made of."""
        table = self.table if table is None else table
        records = table.astype(object).where(table.notna(), None).to_numpy().tolist()
        return rows_of(self.features, records)

    def beside_thresholds(self, seed: int = 0, most: int = 400) -> Any:
        """Rows at the thresholds of trees and one unit in the last place beside, in both types."""
        random = np.random.default_rng(seed)
        rows = self.rows()
        made = []
        for position, values in thresholds(self.estimator, self.features, self.task).items():
            for value in random.permutation(values)[:most].tolist():
                single = np.float32(value)
                for beside in (
                    value,
                    *np.nextafter(value, [-np.inf, np.inf]).tolist(),
                    *np.nextafter(single, np.array([-np.inf, np.inf], np.float32))
                    .astype(float)
                    .tolist(),
                ):
                    row = rows[random.integers(len(rows))].copy()
                    row[position] = beside
                    made.append(row)
        return np.array(made, dtype=rows.dtype)

    def require_equal(self, rows: Any = None, *, tolerance: float = 1e-12) -> None:
        """Require equal values and numbers, together and one by one.

        Args:
            rows: by default those of the table.
            tolerance: largest relative difference of any number; of labels none is allowed.
        """
        rows = self.rows() if rows is None else rows
        expected = self.reference.predict(rows)
        together = self.compiled.predict(rows)
        _require_equal(together, expected, tolerance)
        few = rows[:: max(1, len(rows) // 20)]
        alone = [self.compiled.predict(row[np.newaxis]) for row in few]
        wanted = self.reference.predict(few)
        _require_equal(
            Prediction(
                [one.values[0] for one in alone],
                None if wanted.scores is None else [(one.scores or [])[0] for one in alone],
            ),
            wanted,
            tolerance,
        )


def _require_equal(found: Prediction, expected: Prediction, tolerance: float) -> None:
    for one, other in ((found.values, expected.values), (found.scores, expected.scores)):
        if not isinstance((np.ravel(np.asarray(other, dtype=object)).tolist() or [0])[0], float):
            assert one == other
            continue
        np.testing.assert_allclose(
            np.asarray(one, np.float64),
            np.asarray(other, np.float64),
            rtol=tolerance,
            atol=tolerance,
        )
