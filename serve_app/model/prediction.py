"""What a model call returns, whatever its task."""

from typing import Any, NamedTuple


class Prediction(NamedTuple):
    """Answer of a model to some rows, one element for each row.

    ================ ============================ ==========================================
    task             values                       scores
    ================ ============================ ==========================================
    classification   label                        probability of each class, or None
    multioutput      list of labels               list, for each output, of probabilities, or None
    regression       list of floats, one a target None
    outlier          bool: is an outlier          float, or None
    prediction       JSON value                   None
    ================ ============================ ==========================================

    Every number is finite, every value is plain Python that JSON can carry.
    """

    values: list[Any]
    scores: list[Any] | None = None


_REFUSALS = (ValueError, TypeError, LookupError, ArithmeticError)
_OWN_REFUSALS = frozenset(("CatBoostError", "LightGBMError"))


def is_refusal(error: BaseException | None) -> bool:
    """Whether an estimator says by an exception that it does not take a value.

    What steps do with a value that they do not know differs: a lookup fails, a string is no number.
    Other exceptions are faults of the service.
    """
    return isinstance(error, _REFUSALS) or type(error).__name__ in _OWN_REFUSALS


class NotFiniteError(ValueError):
    """The model has no finite answer for a row; ``row`` is its position."""

    def __init__(self, row: int) -> None:
        super().__init__(f"no finite answer for row {row}")
        self.row = row
