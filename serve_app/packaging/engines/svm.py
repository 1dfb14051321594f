"""Support vector machines in double precision: kernels, and the votes of each pair of classes."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import Emitter, as_indices, emits


class _Machine(Emitter):
    def kernel(self) -> Tensor:
        """Kernel of each row with each support vector."""
        machine = self.estimator
        vectors = np.asarray(machine.support_vectors_, np.float64)
        rows = self.table.numbers(machine)
        product = rows @ vectors.T.copy()
        gamma = float(machine._gamma)  # noqa: SLF001
        match machine.kernel:
            case "linear":
                return product
            case "poly":
                return (product * gamma + float(machine.coef0)).op("Pow", float(machine.degree))
            case "sigmoid":
                return (product * gamma + float(machine.coef0)).op("Tanh")
            case "rbf":
                squares = (rows * rows).sum() + (vectors**2).sum(axis=1)
                distance = (squares - product * 2.0).op("Max", 0.0)
                return (distance * -gamma).op("Exp")
        raise CannotCompileError(f"{type(machine).__name__} with its own kernel")

    def sums(self, weights: NDArray[np.float64], intercept: Any) -> Tensor:
        """Weighted sums of the kernel, shape [rows, outputs]."""
        return self.kernel() @ weights.T.copy() + np.ravel(intercept).astype(np.float64)

    def values(self) -> Tensor:
        """The decision function of two classes, or the value of a regression."""
        machine = self.estimator
        return self.sums(np.asarray(machine.dual_coef_, np.float64), machine.intercept_)


@emits("sklearn.SVR", "sklearn.NuSVR")
class _Regression(_Machine):
    def predict(self) -> Tensor:
        return self.values()


@emits("sklearn.OneClassSVM")
class _OneClass(_Machine):
    def decision_function(self) -> Tensor:
        return self.values()

    def predict(self) -> Tensor:
        """One inside, minus one outside; shape [rows, 1]."""
        inside = self.values().above(0.0)
        return inside.where(1.0, self.graph.lift(-1.0, np.dtype(np.float64)))


@emits("sklearn.SVC", "sklearn.NuSVC")
class _Classifier(_Machine):
    """Labels and scores; probabilities come from an iteration over pairs of classes."""

    def predict(self) -> Tensor:
        if self.is_binary:
            return as_indices(self.values().at_least(0.0))
        if self.estimator.break_ties:
            return self.decision_function().argmax()
        # Zero is a vote for the second class here, and for the first in `decision_function`.
        return self._votes(self._pairs().above(0.0)).argmax()

    def decision_function(self) -> Tensor:
        if self.is_binary:
            return self.values()
        pairs = self._pairs()
        if self.estimator.decision_function_shape == "ovo":
            return pairs
        first, second = self._members()
        total = pairs @ (first - second)
        share = total / ((total.op("Abs") + 1.0) * 3.0)
        return self._votes(pairs.at_least(0.0)) + share

    def _pairs(self) -> Tensor:
        """Decision of each pair of classes: positive for the first one."""
        machine = self.estimator
        ends = np.cumsum(machine.n_support_)
        dual = np.asarray(machine._dual_coef_, np.float64)
        weights = []
        for one, other in itertools.combinations(range(len(self.classes)), 2):
            row = np.zeros(dual.shape[1])
            for mine, theirs in ((one, other - 1), (other, one)):
                chosen = slice(ends[mine] - machine.n_support_[mine], ends[mine])
                row[chosen] = dual[theirs, chosen]
            weights.append(row)
        return self.sums(np.array(weights), machine._intercept_)

    def _members(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each pair which class is its first, and which its second; shape [pairs, classes]."""
        pairs = np.array(list(itertools.combinations(range(len(self.classes)), 2)))
        every = np.eye(len(self.classes))
        return every[pairs[:, 0]], every[pairs[:, 1]]

    def _votes(self, for_first: Tensor) -> Tensor:
        first, second = self._members()
        return for_first.cast(np.float64) @ (first - second) + second.sum(axis=0)
