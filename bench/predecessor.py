"""FastAPI as it is often written: a DataFrame per request, in a synchronous handler.

Run by ``uvicorn --factory bench.predecessor:create_app``, one worker, access log as default.
"""

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

MODEL_VARIABLE = "BENCH_MODEL"


class Instance(BaseModel):
    """One iris."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


def create_app() -> FastAPI:
    """Application around the estimator at ``$BENCH_MODEL``, fitted on a DataFrame."""
    model = joblib.load(os.environ[MODEL_VARIABLE])
    app = FastAPI()

    @app.post("/predict/")
    def predict(instance: Instance) -> dict[str, Any]:
        frame = pd.DataFrame([instance.model_dump()])
        predicted = model.predict(frame)[0]
        probabilities = model.predict_proba(frame)[0]
        return {
            "predicted_class": str(predicted),
            "probabilities": {
                str(label): float(probability)
                for label, probability in zip(model.classes_, probabilities, strict=True)
            },
        }

    return app
