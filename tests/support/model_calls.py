"""Model calls with given answers."""

from serve_app.inference import ModelCall
from serve_app.model.card import Label
from serve_app.model.predictor import Prediction


def call_of(*labels: Label, start_ns: int = 1_000, batch_rows: int | None = None) -> ModelCall:
    """A model call of 500 ns that answered ``labels``; alone unless ``batch_rows`` is given."""
    return ModelCall(
        Prediction(list(labels), None), start_ns, start_ns + 500, batch_rows or len(labels)
    )
