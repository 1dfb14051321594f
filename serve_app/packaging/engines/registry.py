"""Which code emits which class of fitted object."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve_app.packaging.engines.graph import CannotCompileError, Graph, Tensor
from serve_app.packaging.engines.table import Table


class Emitter:
    """A fitted object in a graph; a method emits what the object's method of that name returns.

    ``predict`` of a classifier gives positions in ``classes_``, shape [rows] (of several outputs:
    [rows, outputs]); of others the values, shape [rows, targets]. ``predict_proba`` and
    ``decision_function`` have shape [rows, columns], also for one column. ``transform`` gives a
    table.
    """

    def __init__(self, estimator: Any, table: Table) -> None:
        self.estimator = estimator
        self.table = table
        self.graph: Graph = table.graph

    def __getattr__(self, name: str) -> Any:
        """Say which method is missing: it is no fault of the code, but of the estimator."""
        raise CannotCompileError(f"{type(self.estimator).__name__} has no compiled {name}")

    @property
    def classes(self) -> NDArray[Any]:
        """Classes of a classifier."""
        return np.asarray(self.estimator.classes_)

    @property
    def is_binary(self) -> bool:
        """Whether a classifier has two classes."""
        return len(self.classes) == 2  # noqa: PLR2004


Kind = TypeVar("Kind", bound=Callable[[Any, Table], Any])
_EMITTERS: dict[str, Callable[[Any, Table], Any]] = {}


def emits(*names: str) -> Callable[[Kind], Kind]:
    """Register what makes an `Emitter` for classes, each as ``package.Class``."""

    def register(emitter: Kind) -> Kind:
        _EMITTERS.update(dict.fromkeys(names, emitter))
        return emitter

    return register


def name_of(estimator: Any) -> str:
    """Package and class of an object, such as ``sklearn.Pipeline``."""
    kind = type(estimator)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def emit(estimator: Any, table: Table) -> Any:
    """The emitter of a fitted object over a table.

    A class of the user's own is not taken for the class that it extends: it may do anything.

    Raises:
        CannotCompileError: no code here emits its class.
    """
    kind = _EMITTERS.get(name_of(estimator))
    if kind is None:
        raise CannotCompileError(f"there is no compiled form of {type(estimator).__name__}")
    return kind(estimator, table)


def transformed(estimator: Any, table: Table) -> Table:
    """What a transformer makes of a table."""
    if estimator is None or (isinstance(estimator, str) and estimator == "passthrough"):
        return table
    result: Table = emit(estimator, table).transform()
    return result


def as_indices(chosen: Tensor) -> Tensor:
    """A truth value for each row, one column, as position 0 or 1; shape [rows]."""
    return chosen.cast(np.int64).flat()


def side_by_side(tensors: Sequence[Tensor]) -> Tensor:
    """The columns of tensors, one after another."""
    first, *others = tensors
    return first.op("Concat", *others, axis=1) if others else first


def two_columns(positive: Tensor) -> Tensor:
    """Probabilities of two classes from the second one's, shape [rows, 1]."""
    one = positive.graph.lift(1.0, positive.dtype)
    return side_by_side([one - positive, positive])


def logistic(scores: Tensor) -> Tensor:
    """The logistic function, exact also for chances near 0, where the operator Sigmoid is not.

    For two classes Sigmoid is enough: it is wrong by less than the last bit of 1.
    """
    one = scores.graph.lift(1.0, scores.dtype)
    return one / ((-scores).op("Exp") + 1.0)


def softmax(scores: Tensor) -> Tensor:
    """Probabilities that grow with the exponential of each score."""
    return scores.op("Softmax", axis=1)
