"""Distances to centres: clusters, mixtures of Gaussians, quadratic discriminants."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import (
    Emitter,
    as_indices,
    emits,
    side_by_side,
    softmax,
)


def squared_lengths(
    rows: Tensor, matrices: Sequence[NDArray[Any]], origins: NDArray[np.float64]
) -> Tensor:
    """Squared length of each row in several spaces, shape [rows, spaces].

    Args:
        rows: shape [rows, columns].
        matrices: for each space what maps a row into it, shape [columns, dimensions].
        origins: for each space the row that is its origin, shape [spaces, columns].
    """
    found = []
    for matrix, origin in zip(matrices, origins, strict=True):
        apart: Tensor = (rows - origin) @ np.ascontiguousarray(matrix)
        found.append((apart * apart).sum())
    return side_by_side(found)


def nearest(rows: Tensor, centres: NDArray[np.float64]) -> Tensor:
    """Position of the nearest centre; the first of equals. Shape [rows]."""
    # The squared length of the row is the same for all centres, as in scikit-learn.
    sizes: NDArray[np.float64] = (centres**2).sum(axis=1)
    return (rows @ centres.T.copy() * 2.0 - sizes).argmax()


@emits(
    "sklearn.KMeans",
    "sklearn.MiniBatchKMeans",
    "sklearn.MeanShift",
    "sklearn.AffinityPropagation",
    "sklearn.Birch",
)
class _Centres(Emitter):
    def predict(self) -> Tensor:
        model = self.estimator
        name = (
            "subcluster_centers_" if hasattr(model, "subcluster_centers_") else "cluster_centers_"
        )
        centres = np.asarray(getattr(model, name), np.float64)
        if not len(centres):
            raise CannotCompileError(f"{type(model).__name__} without clusters")
        found = nearest(self.table.numbers(model), centres)
        if hasattr(model, "subcluster_labels_"):
            labels = self.graph.constant(np.asarray(model.subcluster_labels_, np.int64))
            found = self.graph.op("Gather", labels, found, dtype=np.int64)
        return found


@emits("sklearn.GaussianMixture", "sklearn.BayesianGaussianMixture")
class _Mixture(Emitter):
    def predict(self) -> Tensor:
        """Position of the most probable component; shape [rows]."""
        model = self.estimator
        means = np.asarray(model.means_, np.float64)
        # At its own mean nothing but the constant of a component is left.
        constants = np.diag(model._estimate_weighted_log_prob(means))  # noqa: SLF001
        apart = squared_lengths(self.table.numbers(model), self._matrices(means), means)
        return (apart * -0.5 + constants).argmax()

    def _matrices(self, means: NDArray[np.float64]) -> list[NDArray[Any]]:
        """For each component the Cholesky factor of its precision."""
        factors = np.asarray(self.estimator.precisions_cholesky_, np.float64)
        count, columns = means.shape
        match self.estimator.covariance_type:
            case "full":
                return list(factors)
            case "tied":
                return [factors] * count
            case "diag":
                return [np.diag(factor) for factor in factors]
        return [np.eye(columns) * factor for factor in factors]


@emits("sklearn.QuadraticDiscriminantAnalysis")
class _Discriminant(Emitter):
    def _scores(self) -> Tensor:
        """Logarithm of the posterior of each class, but for a constant."""
        model = self.estimator
        matrices = [
            rotation * scaling**-0.5
            for rotation, scaling in zip(model.rotations_, model.scalings_, strict=True)
        ]
        sizes = np.array([np.log(scaling).sum() for scaling in model.scalings_])
        apart = squared_lengths(
            self.table.numbers(model), matrices, np.asarray(model.means_, np.float64)
        )
        scores: Tensor = (apart + sizes) * -0.5 + np.log(model.priors_)
        return scores

    def decision_function(self) -> Tensor:
        scores = self._scores()
        return scores.columns([1]) - scores.columns([0]) if self.is_binary else scores

    def predict(self) -> Tensor:
        scores = self.decision_function()
        return as_indices(scores.above(0.0)) if self.is_binary else scores.argmax()

    def predict_proba(self) -> Tensor:
        return softmax(self._scores())
