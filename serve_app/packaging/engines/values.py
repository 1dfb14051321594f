"""Single values of a table."""

import math
from typing import Any

import numpy as np


def is_missing(value: Any) -> bool:
    """Whether a value of a table stands for none: None, NaN, NaT, pandas.NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def plain(value: Any) -> Any:
    """A NumPy scalar as the Python value that it holds."""
    return value.item() if isinstance(value, np.generic) else value
