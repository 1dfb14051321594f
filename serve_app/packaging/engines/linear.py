"""Linear models: a product, an intercept, and a link."""

from typing import Any

import numpy as np

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emits,
    logistic,
    side_by_side,
    softmax,
    two_columns,
)

_CLASSIFIERS = (
    "LogisticRegression",
    "LogisticRegressionCV",
    "SGDClassifier",
    "Perceptron",
    "PassiveAggressiveClassifier",
    "LinearSVC",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "LinearDiscriminantAnalysis",
)
_REGRESSORS = (
    "LinearRegression",
    "Ridge",
    "RidgeCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "ElasticNet",
    "ElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "Lars",
    "LarsCV",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "BayesianRidge",
    "ARDRegression",
    "HuberRegressor",
    "QuantileRegressor",
    "TheilSenRegressor",
    "SGDRegressor",
    "PassiveAggressiveRegressor",
    "LinearSVR",
)
_LOG_LINK = ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")


def _named(names: tuple[str, ...]) -> list[str]:
    return [f"sklearn.{name}" for name in names]


class _Linear(Emitter):
    def scores(self) -> Tensor:
        """Product with the coefficients, and the intercept; shape [rows, outputs]."""
        coefficients = np.atleast_2d(np.asarray(self.estimator.coef_, np.float64))
        values = self.table.numbers(self.estimator)
        return values @ coefficients.T.copy() + np.ravel(self.estimator.intercept_).astype(float)


@emits(*_named(_REGRESSORS))
class _Regressor(_Linear):
    def predict(self) -> Tensor:
        return self.scores()


@emits("sklearn.PLSRegression", "sklearn.PLSCanonical", "sklearn.CCA")
class _LatentRegressor(Emitter):
    def predict(self) -> Tensor:
        model = self.estimator
        centred = self.table.numbers(model) - model._x_mean  # noqa: SLF001
        found: Tensor = centred @ np.asarray(model.coef_, np.float64).T.copy() + model.intercept_
        return found


@emits(*_named(_LOG_LINK))
class _GeneralizedRegressor(_Linear):
    def predict(self) -> Tensor:
        link = type(self.estimator._base_loss.link).__name__  # noqa: SLF001
        if link == "IdentityLink":
            return self.scores()
        if link != "LogLink":
            raise CannotCompileError(f"link {link}")
        return self.scores().op("Exp")


@emits(*_named(_CLASSIFIERS))
class _Classifier(_Linear):
    def decision_function(self) -> Tensor:
        return self.scores()

    def predict(self) -> Tensor:
        scores = self.scores()
        if getattr(self.estimator, "_label_binarizer", None) is not None and (
            self.estimator._label_binarizer.y_type_.startswith("multilabel")  # noqa: SLF001
        ):
            return scores.above(0.0).cast(np.int64)
        return as_indices(scores.above(0.0)) if self.is_binary else scores.argmax()

    def predict_proba(self) -> Tensor:
        name = type(self.estimator).__name__
        loss = getattr(self.estimator, "loss", None)
        if name.startswith("SGD") and loss == "modified_huber":
            return self._clipped((self.scores().op("Max", -1.0).op("Min", 1.0) + 1.0) / 2.0)
        if name.startswith("SGD") and loss != "log_loss":
            raise CannotCompileError(f"SGDClassifier(loss={loss!r}) has no probabilities")
        if self._is_multinomial():
            scores = self.scores()
            return softmax(side_by_side([-scores, scores]) if self.is_binary else scores)
        scores = self.scores()
        return self._clipped(scores.op("Sigmoid") if self.is_binary else logistic(scores))

    def _clipped(self, chances: Tensor) -> Tensor:
        """Chances of each class against the rest, as probabilities."""
        if self.is_binary:
            return two_columns(chances)
        total = chances.sum()
        return total.equal(0.0).where(1 / len(self.classes), chances / total)

    def _is_multinomial(self) -> bool:
        if type(self.estimator).__name__ == "LinearDiscriminantAnalysis":
            return not self.is_binary
        # Scikit-learn below 1.8 fits either; above, the number of classes decides.
        chosen = getattr(self.estimator, "multi_class", "auto")
        if chosen in ("ovr", "multinomial"):
            return bool(chosen == "multinomial")
        solver: Any = getattr(self.estimator, "solver", None)
        return not self.is_binary and solver not in (None, "liblinear")


@emits("sklearn.SGDOneClassSVM")
class _OneClass(_Linear):
    def decision_function(self) -> Tensor:
        values = self.table.numbers(self.estimator)
        scores: Tensor = values @ np.ravel(self.estimator.coef_)[:, np.newaxis]
        return scores - np.asarray(self.estimator.offset_, np.float64)

    def predict(self) -> Tensor:
        """One inside, minus one outside; shape [rows, 1]."""
        inside = self.decision_function().at_least(0.0)
        return inside.where(1.0, self.graph.lift(-1.0, np.dtype(np.float64)))


@emits("sklearn.EllipticEnvelope")
class _EllipticEnvelope(Emitter):
    def decision_function(self) -> Tensor:
        """Opposite of the squared Mahalanobis distance, from the offset."""
        apart = self.table.numbers(self.estimator) - self.estimator.location_
        distance: Tensor = ((apart @ self.estimator.get_precision()) * apart).sum()
        return -distance - float(self.estimator.offset_)

    def predict(self) -> Tensor:
        """One inside, minus one outside; shape [rows, 1]."""
        inside = self.decision_function().at_least(0.0)
        return inside.where(1.0, self.graph.lift(-1.0, np.dtype(np.float64)))
