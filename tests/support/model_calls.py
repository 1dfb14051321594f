"""Model calls with given answers."""

from typing import Any

from serve_app.inference import ModelCall
from serve_app.model.prediction import Prediction


def call_of(*values: Any, start_ns: int = 1_000, batch_rows: int | None = None) -> ModelCall:
    """A model call of 500 ns that answered ``values``; alone unless ``batch_rows`` is given."""
    return ModelCall(Prediction(list(values)), start_ns, start_ns + 500, batch_rows or len(values))
