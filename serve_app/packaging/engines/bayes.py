"""Naive Bayes: the joint likelihood of a row and each class."""

import numpy as np

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.quadratic import squared_lengths
from serve_app.packaging.engines.registry import Emitter, emits, softmax


class _NaiveBayes(Emitter):
    def likelihoods(self) -> Tensor:
        """Logarithm of the joint likelihood, shape [rows, classes]."""
        raise NotImplementedError

    def predict(self) -> Tensor:
        return self.likelihoods().argmax()

    def predict_proba(self) -> Tensor:
        return softmax(self.likelihoods())


@emits("sklearn.GaussianNB")
class _Gaussian(_NaiveBayes):
    def likelihoods(self) -> Tensor:
        model = self.estimator
        constants = np.log(model.class_prior_) - 0.5 * np.log(2 * np.pi * model.var_).sum(axis=1)
        scales = [np.diag(1 / np.sqrt(variances)) for variances in model.var_]
        found: Tensor = (
            squared_lengths(self.table.numbers(model), scales, model.theta_) * -0.5 + constants
        )
        return found


@emits("sklearn.MultinomialNB", "sklearn.ComplementNB")
class _Counting(_NaiveBayes):
    def likelihoods(self) -> Tensor:
        model = self.estimator
        weights = np.asarray(model.feature_log_prob_, np.float64).T.copy()
        found = self.table.numbers(model) @ weights
        if type(model).__name__ == "ComplementNB" and len(self.classes) > 1:
            return found
        joint: Tensor = found + model.class_log_prior_
        return joint


@emits("sklearn.BernoulliNB")
class _Bernoulli(_NaiveBayes):
    def likelihoods(self) -> Tensor:
        model = self.estimator
        values = self.table.numbers(model)
        if model.binarize is not None:
            values = values.above(float(model.binarize)).cast(np.float64)
        chances = np.asarray(model.feature_log_prob_, np.float64)
        against = np.log(1 - np.exp(chances))
        constants = model.class_log_prior_ + against.sum(axis=1)
        found: Tensor = values @ (chances - against).T.copy() + constants
        return found


@emits("sklearn.CategoricalNB")
class _Categorical(_NaiveBayes):
    def likelihoods(self) -> Tensor:
        model = self.estimator
        for column, chances in zip(self.table.columns, model.feature_log_prob_, strict=True):
            source = None if column.source is None else self.graph.features[column.source]
            known = () if source is None else source.values
            if source is None or source.unseen_allowed or source.nullable:
                raise CannotCompileError("CategoricalNB over numbers that are no known codes")
            if not set(known) <= set(range(chances.shape[1])):
                raise CannotCompileError("CategoricalNB over codes that it does not know")
        codes = self.table.numbers(model).cast(np.int64)
        found = [
            self.graph.op(
                "Gather",
                self.graph.constant(np.ascontiguousarray(chances.T, np.float64)),
                codes.columns([place]).flat(),
                axis=0,
            )
            for place, chances in enumerate(model.feature_log_prob_)
        ]
        joint: Tensor = sum(found[1:], start=found[0]) + model.class_log_prior_
        return joint
