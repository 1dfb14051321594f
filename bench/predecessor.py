"""FastAPI as it is often written: a DataFrame per request, in a synchronous handler.

Run by ``uvicorn --factory bench.predecessor:create_app``, one worker, access log as default.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, create_model

MODEL_VARIABLE = "BENCH_MODEL"
CARD_VARIABLE = "BENCH_CARD"


def instance_model(features: list[dict[str, Any]]) -> type[BaseModel]:
    """A row as it would be written by hand: a field of the column's type for each feature."""
    fields: dict[str, Any] = {}
    for feature in features:
        kind = float if feature["kind"] == "number" else str
        fields[feature["name"]] = (kind | None, None) if feature["nullable"] else (kind, ...)
    return create_model("Instance", **fields)


def create_app() -> FastAPI:
    """Application around the estimator at ``$BENCH_MODEL``, fitted on a DataFrame.

    ``$BENCH_CARD`` is the card of the same model, which names the columns.
    """
    model = joblib.load(os.environ[MODEL_VARIABLE])
    card = json.loads(Path(os.environ[CARD_VARIABLE]).read_text(encoding="utf-8"))
    instance_type = instance_model(card["features"])
    app = FastAPI()

    @app.post("/predict/")
    def predict(instance: instance_type) -> dict[str, Any]:  # type: ignore[valid-type]
        values = instance.model_dump().items()  # type: ignore[attr-defined]
        frame = pd.DataFrame([{key: math.nan if each is None else each for key, each in values}])
        predicted = model.predict(frame).tolist()[0]
        probabilities = model.predict_proba(frame)[0]
        return {
            "predicted_class": predicted,
            "probabilities": {
                str(label): float(probability)
                for label, probability in zip(model.classes_, probabilities, strict=True)
            },
        }

    return app
