"""Neural networks: layers of products and activations."""

import numpy as np

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emits,
    logistic,
    softmax,
    two_columns,
)


def _activated(values: Tensor, name: str) -> Tensor:
    match name:
        case "identity":
            return values
        case "relu":
            return values.op("Max", 0.0)
        case "tanh":
            return values.op("Tanh")
        case "logistic":
            return logistic(values)
        case "softmax":
            return softmax(values)
        case "exp":
            return values.op("Exp")
    raise CannotCompileError(f"activation {name}")


@emits("sklearn.MLPClassifier", "sklearn.MLPRegressor")
class _Network(Emitter):
    def _last_layer(self) -> Tensor:
        model = self.estimator
        values = self.table.numbers(model)
        layers = list(zip(model.coefs_, model.intercepts_, strict=True))
        for number, (weights, intercepts) in enumerate(layers, start=1):
            values = values @ np.asarray(weights, np.float64) + np.asarray(intercepts, np.float64)
            is_last = number == len(layers)
            values = _activated(values, model.out_activation_ if is_last else model.activation)
        return values

    def predict(self) -> Tensor:
        found = self._last_layer()
        if not hasattr(self.estimator, "classes_"):
            return found
        if self.estimator._label_binarizer.y_type_.startswith("multilabel"):  # noqa: SLF001
            return found.above(0.5).cast(np.int64)
        return as_indices(found.above(0.5)) if self.estimator.n_outputs_ == 1 else found.argmax()

    def predict_proba(self) -> Tensor:
        found = self._last_layer()
        return two_columns(found) if self.estimator.n_outputs_ == 1 else found
