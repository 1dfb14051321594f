"""Single estimators that no other module emits: skl2onnx converts them."""

from typing import Any

import numpy as np

from serve_app.packaging.engines.graph import (
    ML,
    OPSETS,
    CannotCompileError,
    Table,
    Tensor,
)
from serve_app.packaging.engines.registry import Emitter

_MOST_NEIGHBOURS = 2_000
"""Rows of a search for neighbours above which scikit-learn's own, with a tree, is faster."""


class Converted(Emitter):
    """An estimator that skl2onnx converts, in the graph's precision for such."""

    def transform(self) -> Table:
        """See `Emitter`."""
        (found,) = self._converted({})
        width = self._width()
        return self.table.of_numbers(found.cast(np.float64), width)

    def _width(self) -> int:
        try:
            return len(self.estimator.get_feature_names_out())
        except Exception as error:
            raise CannotCompileError(
                f"{type(self.estimator).__name__} does not say how many columns it makes"
            ) from error

    def predict(self) -> Tensor:
        """See `Emitter`."""
        if not hasattr(self.estimator, "classes_"):
            found = self._converted({})[0]
            return found.cast(np.float64) if found.dtype == np.float32 else found
        options = {"zipmap": False}
        if not hasattr(self.estimator, "predict_proba") and hasattr(self.estimator, "coef_"):
            # Raw scores are enough for the labels; other operators lack double precision.
            options["raw_scores"] = True
        labels = self._converted(options)[0]
        return self._positions(labels)

    def _positions(self, labels: Tensor) -> Tensor:
        classes = self.classes
        positions = np.arange(len(classes), dtype=np.int64)
        if isinstance(self.estimator.classes_, list):
            raise CannotCompileError(f"{type(self.estimator).__name__} of several outputs")
        keys: dict[str, Any] = {"keys_strings": [str(label) for label in classes]}
        if labels.dtype != np.dtype(object):
            if np.array_equal(classes, positions):
                return labels
            labels, keys = labels.cast(np.int64), {"keys_int64s": classes.astype(np.int64)}
        return self.graph.op(
            "LabelEncoder",
            labels,
            domain=ML,
            dtype=np.int64,
            values_int64s=positions,
            default_int64=-1,
            **keys,
        )

    def predict_proba(self) -> Tensor:
        """See `Emitter`."""
        _, probabilities = self._converted({"zipmap": False})
        return probabilities.cast(np.float64)

    def decision_function(self) -> Tensor:
        """See `Emitter`."""
        if hasattr(self.estimator, "classes_"):
            _, scores = self._converted({"zipmap": False, "raw_scores": True})
            return scores.cast(np.float64)
        return self._converted({})[1].cast(np.float64)

    def _require_few_rows(self) -> None:
        rows = getattr(self.estimator, "n_samples_fit_", 0)
        if rows > _MOST_NEIGHBOURS:
            raise CannotCompileError(
                f"{type(self.estimator).__name__} would be compared with each of {rows:,} rows"
            )

    def _converted(self, options: dict[str, Any]) -> list[Tensor]:
        key = (id(self.estimator), id(self.table.matrix and self.table.matrix.name), str(options))
        if key not in self.graph.converted:
            self.graph.converted[key] = self._convert(options)
        return self.graph.converted[key]

    def _convert(self, options: dict[str, Any]) -> list[Tensor]:
        from onnx import helper
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
        from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

        self._require_few_rows()
        given = self.table.numbers(self.estimator).cast(self.graph.leaf_type)
        tensor = FloatTensorType if self.graph.leaf_type == np.float32 else DoubleTensorType
        kind = tensor([None, self.table.width])
        try:
            model = convert_sklearn(
                self.estimator,
                # A fixed name: the default is random, and equal models have equal bytes.
                name="estimator",
                initial_types=[("x", kind)],
                options={id(self.estimator): options} if options else None,
                target_opset=dict(OPSETS) | {ML: 3},
            )
        except (MissingShapeCalculator, MissingConverter) as error:
            raise CannotCompileError(
                f"there is no converter for {type(self.estimator).__name__}"
            ) from error
        self.graph.leaves.append(type(self.estimator).__name__)
        dtypes = [
            helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type)
            for output in model.graph.output
        ]
        return self.graph.merge(model, [given], dtypes)
